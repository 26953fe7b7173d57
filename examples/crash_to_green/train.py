"""A small training script with five mistakes; docs/tutorial.md mends them one by one.

python train.py --lr 1e-2
"""

import argparse

import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--lr", default=1e-3)
parser.add_argument("--epochs", type=int, default=20)
options = parser.parse_args()

torch.manual_seed(0)
images = torch.rand(64, 16, 8)
labels = (images[:, :, 0].mean(dim=1) > 0.5).long()
mask = torch.eye(16, dtype=torch.bool)


class Attend(nn.Module):
    """Tokens look at each other, but not at themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(8, 24)
        self.head = nn.Linear(8, 2)

    def forward(self, tokens):
        queries, keys, values = self.project(tokens).chunk(3, dim=-1)
        scores = queries @ keys.transpose(-1, -2)
        scores = scores.masked_fill(mask, -1e9)
        return self.head((scores.softmax(dim=-1) @ values).mean(dim=1))


model = Attend()
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.AdamW(model.parameters(), lr=options.lr)

for epoch in range(options.epochs):
    model.train()
    total = 0
    for start in range(0, 64, 16):
        with torch.autocast("cpu", dtype=torch.float16):
            logits = model(images[start : start + 16])
            loss = criterion(logits.softmax(dim=-1), labels[start : start + 16])
        loss.backward()
        optimizer.step()
        total += loss
    print(f"epoch {epoch}: loss {total / 4:.3f}")

model.eval()
correct = 0
for start in range(0, 64, 16):
    correct += (model(images[start : start + 16]).argmax(dim=1) == labels[start : start + 16]).sum().item()
print(f"accuracy {correct / 64:.2f}")
