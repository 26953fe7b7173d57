"""Methods that are handed on, kept, compared or documented, and an attribute that is looked up for its effect."""

import torch


class Lazy:
    @property
    def train(self):
        return 1


def main(model, optimizer, loader, hooks):
    hooks.append(optimizer.step)
    step = optimizer.step
    for images, labels in loader:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        step()
    model.eval()
    hooks.config
    return optimizer.step if hooks else None
