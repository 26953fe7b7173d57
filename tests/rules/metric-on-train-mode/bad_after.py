import torch
from torch import nn

from project.data import test_loader, train_loader
from project.networks import build

model = build("unet", dropout=0.2)
model.to("cuda")
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

for epoch in range(20):
    for images, masks in train_loader:
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(model(images.cuda()), masks.cuda())
        loss.backward()
        optimizer.step()

scores = []
for images, masks in test_loader:
    with torch.inference_mode():
        predicted = model(images.cuda()).sigmoid() > 0.5
    scores.append((predicted.cpu() == masks.bool()).float().mean().item())
print(sum(scores) / len(scores))
