import torch
from torch import nn
from torch.cuda.amp import autocast


def train(model, loader, epochs):
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    for epoch in range(epochs):
        model.train()
        for images, labels in loader:
            optimizer.zero_grad()
            with autocast():  # snellen: ignore[deprecated-amp-api]
                logits = model(images.cuda())
                loss = criterion(logits, labels.cuda())
            loss.backward()
            optimizer.step()
