import torch


def load(model, path):
    model.load_state_dict(torch.load(path, weights_only=True), strict=False)
    try:
        model.load_state_dict(torch.load(path, weights_only=True))
    except Exception:
        pass
