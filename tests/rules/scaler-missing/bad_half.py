import torch
import torch.nn.functional as F

DTYPE = torch.float16


class Trainer:
    def __init__(self, model):
        self.model = model
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def training_step(self, batch):
        self.optimizer.zero_grad()
        with torch.autocast(device_type="cuda", dtype=DTYPE):
            output = self.model(batch["image"])
        loss = F.mse_loss(output.float(), batch["target"])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return loss.item()


def run(model, loader, optimizer):
    context = torch.amp.autocast("cuda")
    for x, y in loader:
        optimizer.zero_grad()
        with context:
            loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
