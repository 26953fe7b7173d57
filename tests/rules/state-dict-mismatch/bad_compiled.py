import torch
import torchvision


def finish(epoch):
    network = torchvision.models.resnet18()
    network = torch.compile(network)
    torch.save({"model": network.state_dict(), "epoch": epoch}, "checkpoint.pth")


def restore():
    network = torchvision.models.resnet18()
    checkpoint = torch.load("checkpoint.pth", weights_only=True)
    network.load_state_dict(checkpoint["model"])
    return network
