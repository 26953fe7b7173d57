import torch


def train(model, loader, criterion, accumulate=8):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    for i, (images, labels) in enumerate(loader):
        optimizer.zero_grad()
        loss = criterion(model(images), labels) / accumulate
        loss.backward()
        if (i + 1) % accumulate == 0:
            optimizer.step()


class Runner:
    def __init__(self, model, config):
        self.model = model
        self.config = config
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        self.scaler = torch.amp.GradScaler("cuda")

    def epoch(self, loader, loss_fn):
        for batch_idx, (images, labels) in enumerate(loader):
            self.optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cuda", dtype=torch.float16):
                loss = loss_fn(self.model(images), labels) / self.config.grad_accum
            self.scaler.scale(loss).backward()
            if (batch_idx + 1) % self.config.grad_accum == 0:
                self.scaler.step(self.optimizer)
                self.scaler.update()


def at_the_end(model, loader, criterion, optimizer, n):
    for i, (images, labels) in enumerate(loader):
        loss = criterion(model(images), labels) / n
        loss.backward()
        if i % n == n - 1:
            optimizer.step()
        optimizer.zero_grad()
