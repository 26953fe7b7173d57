import torch
import torch.nn.functional as F


@torch.no_grad()
def extract(model, loader, device):
    model.eval()
    features, labels = [], []
    for images, target in loader:
        output = model(images.to(device))
        features.append(output)
        labels.append(target)
    return torch.cat(features), torch.cat(labels)


class Extractor:
    def __init__(self, backbone, device):
        self.backbone = backbone.to(device).eval()
        self.device = device

    def run(self, images):
        vectors = list()
        with torch.inference_mode():
            for image in images:
                tokens = self.backbone.forward_features(image.unsqueeze(0).to(self.device))
                vectors.append(F.normalize(tokens[:, 0], dim=-1))
        return vectors
