import torch


def validate(model, loader, criterion, device):
    model.eval()
    total, correct = 0.0, 0
    for images, labels in loader:
        images, labels = images.to(device), labels.to(device)
        logits = model(images)
        total += criterion(logits, labels).item()
        correct += (logits.argmax(1) == labels).sum().item()
    model.train()
    return total / len(loader), correct


class Evaluator:
    def __init__(self, network, data):
        self.network = network
        self.data = data

    def features(self):
        self.network.train(False)
        found = []
        for batch in torch.utils.data.DataLoader(self.data, batch_size=32):
            found.append(self.network.forward_features(batch).mean((2, 3)).cpu().numpy())
        return found
