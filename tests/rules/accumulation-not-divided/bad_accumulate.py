import torch
from torch import nn


def train(model, loader, optimizer, accumulation_steps=4):
    criterion = nn.CrossEntropyLoss()
    optimizer.zero_grad()
    for i, (images, labels) in enumerate(loader):
        output = model(images)
        loss = criterion(output, labels)
        loss.backward()
        if (i + 1) % accumulation_steps == 0:
            optimizer.step()
            optimizer.zero_grad()


class Trainer:
    def __init__(self, args, model, optimizer):
        self.args, self.model, self.optimizer = args, model, optimizer
        self.scaler = torch.amp.GradScaler("cuda")

    def run(self, loader):
        running = 0.0
        for step, batch in enumerate(loader):
            with torch.autocast("cuda", dtype=torch.float16):
                out = self.model(batch["image"])
                loss = nn.functional.mse_loss(out, batch["target"])
            self.scaler.scale(loss).backward()
            running += loss.item()
            if (step + 1) % self.args.accum_iter == 0 or step + 1 == len(loader):
                self.scaler.step(self.optimizer)
                self.scaler.update()
                self.optimizer.zero_grad(set_to_none=True)
        return running / len(loader)
