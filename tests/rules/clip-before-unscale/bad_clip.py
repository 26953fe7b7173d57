import torch
from torch import nn
from torch.amp import GradScaler, autocast


def train(model, loader, optimizer, max_norm=1.0):
    scaler = GradScaler("cuda")
    for images, labels in loader:
        optimizer.zero_grad(set_to_none=True)
        with autocast("cuda", dtype=torch.float16):
            loss = nn.functional.cross_entropy(model(images), labels)
        scaler.scale(loss).backward()
        nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        scaler.step(optimizer)
        scaler.update()


class Trainer:
    def __init__(self, model, args):
        self.model, self.args = model, args
        self.optimizer = torch.optim.AdamW(model.parameters())
        self.scaler = torch.cuda.amp.GradScaler()  # snellen: ignore[deprecated-amp-api]

    def step(self, batch):
        self.optimizer.zero_grad()
        with torch.cuda.amp.autocast():  # snellen: ignore[deprecated-amp-api]
            loss = self.model(batch)
        self.scaler.scale(loss).backward()
        if self.args.clip:
            # keep the gradients small
            norm = torch.nn.utils.clip_grad_norm_(
                self.model.parameters(), self.args.clip
            )
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.item()
