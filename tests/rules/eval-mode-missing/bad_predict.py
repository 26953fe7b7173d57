import timm
import torch


def predict(image_paths, read):
    net = timm.create_model("efficientnet_b0", pretrained=True)
    answers = []
    with torch.inference_mode():
        for path in image_paths:
            answers.append(net(read(path)).argmax(1).item())
    return answers


class Embedder:
    def __init__(self):
        self.model = timm.create_model("vit_base_patch16_224", num_classes=0)

    def embed(self, loader):
        with torch.no_grad():
            for images in loader:
                yield self.model(images).numpy()
