import segmentation_models_pytorch as smp
import torch

net = smp.Unet("resnet34", encoder_weights="imagenet", classes=1)


def predict(images):
    logits = net(images)
    return logits.argmax(dim=1)


def other(images):
    return torch.argmax(net(images), 1)
