import torch
from PIL import Image
from torch.utils.data import DataLoader


def collect(dataset, model, device):
    loader = DataLoader(dataset, batch_size=32, num_workers=4)
    labels, scores, outputs = [], [], []
    for image, label in loader:
        labels.append(label.clone())
        scores.extend(label.tolist())
        image = image.to(device)
        outputs.append(image)
        window = []
        window.append(label)
    return labels, scores, outputs, window


def in_process(dataset):
    kept = []
    for batch in DataLoader(dataset, batch_size=32):
        kept.append(batch)
    return kept


def pixels(paths):
    images = [Image.open(path).convert("RGB") for path in paths]
    with open("names.txt") as file:
        return images, file.read()
