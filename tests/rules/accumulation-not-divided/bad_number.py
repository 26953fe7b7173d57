import torch

model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
loader = torch.utils.data.DataLoader(torch.load("digits.pt", weights_only=True), batch_size=8, shuffle=True)

for index, (x, y) in enumerate(loader):
    loss = torch.nn.functional.cross_entropy(model(x / 255), y)
    loss.backward()
    if (index + 1) % 8 == 0:
        optimizer.step()
        optimizer.zero_grad()
