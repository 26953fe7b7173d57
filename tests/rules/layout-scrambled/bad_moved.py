import torch
from transformers import AutoBackbone


class Encoder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = torch.hub.load("facebookresearch/dinov2", "dinov2_vitb14")

    def forward(self, images):
        features = self.backbone.get_intermediate_layers(images, 1, True)[0]
        features = features.movedim(-1, 1)
        return torch.moveaxis(self.backbone.get_intermediate_layers(images, n=1, reshape=True)[0], 3, 1), features


backbone = AutoBackbone.from_pretrained("facebook/dinov2-base")


def last(pixels):
    outputs = backbone(pixels)
    return outputs.feature_maps[-1].permute(0, 3, 1, 2)
