import torch
from torch import nn

MASKED = -1e9


class Attention(nn.Module):
    def forward(self, query, key, mask):
        scores = query @ key.transpose(-2, -1)
        return scores.masked_fill(mask, MASKED).softmax(-1)


def train(model, loader, optimizer):
    scaler = torch.amp.GradScaler("cuda")
    for query, key, mask in loader:
        with torch.autocast("cuda", dtype=torch.float16):
            loss = model(query, key, mask).mean()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
