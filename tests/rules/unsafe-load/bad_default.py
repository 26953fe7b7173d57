import torch


def load_weights(model, path, device):
    model.load_state_dict(torch.load(path, map_location=device))
    return model


def load_backbone(network, args):
    checkpoint = torch.load(args.checkpoint, map_location="cpu")
    network.load_state_dict(checkpoint["state_dict"])


def load_ema(network):
    state = torch.load("weights/ema.pth")
    network.load_state_dict({name.removeprefix("module."): value for name, value in state.items()})
