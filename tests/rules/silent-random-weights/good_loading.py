import torch


def load(model, optimizer, path):
    model.load_state_dict(torch.load(path, weights_only=True))
    missing, unexpected = model.load_state_dict(torch.load(path, weights_only=True), strict=False)
    print(model.load_state_dict(torch.load(path, weights_only=True), strict=False))
    try:
        optimizer.load_state_dict(torch.load(path, weights_only=True))
    except ValueError as error:
        raise RuntimeError("optimiser of another model") from error
    return missing, unexpected
