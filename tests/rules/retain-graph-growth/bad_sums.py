import torch


def train_epoch(model, loader, criterion, optimizer):
    model.train()
    total_loss = 0.0
    for images, labels in loader:
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
        total_loss += loss
    return total_loss / len(loader)


class Trainer:
    def __init__(self, model, optimizer):
        self.model, self.optimizer = model, optimizer
        self.running = 0

    def epoch(self, batches, scaler):
        for batch in batches:
            self.optimizer.zero_grad()
            with torch.autocast("cuda"):
                loss = self.model(batch)
            scaler.scale(loss).backward()
            scaler.step(self.optimizer)
            scaler.update()
            self.running = self.running + loss * batch.size(0)


def train_parts(model, loader, optimizer, parts):
    sums = {"box": 0, "mask": 0}
    for batch in loader:
        optimizer.zero_grad()
        box = parts.box(model(batch))
        mask = parts.mask(model(batch))
        loss = box + 0.5 * mask
        (loss / 4).backward()
        optimizer.step()
        sums["box"] += box
        sums["mask"] += mask
    return sums
