import torch


def restored(model, path):
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state)
    model.eval()
    return model


def whole(path):
    archive = torch.jit.load(path)
    archive.eval()
    return archive


def vectors(path, device):
    return torch.load(path, weights_only=True).to(device)
