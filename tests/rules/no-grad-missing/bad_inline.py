import torch
from tqdm import tqdm


def main(model, train_loader, val_loader, criterion, optimizer, epochs):
    for epoch in range(epochs):
        model.train()
        for images, labels in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()

        model.eval()
        right = 0
        with tqdm(val_loader) as bar:
            for images, labels in bar:
                right += (model(images).argmax(1) == labels).sum().item()
        print(epoch, right)
    torch.save(model.state_dict(), "last.pth")
