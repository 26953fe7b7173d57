import segmentation_models_pytorch as smp
import timm
import torch

binary = smp.Unet("resnet34", classes=1)
several = smp.Unet("resnet34", classes=4)
tokens = timm.create_model("vit_base_patch16_224", num_classes=1)


def masks(images):
    return torch.sigmoid(binary(images)) > 0.5, several(images).argmax(1)


def over_batch(images):
    return tokens(images).softmax(dim=0), several(images).softmax(dim=1)
