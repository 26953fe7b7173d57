import torch


def load(model, optimizer, path):
    model.load_state_dict(torch.load(path))
    missing, unexpected = model.load_state_dict(torch.load(path), strict=False)
    print(model.load_state_dict(torch.load(path), strict=False))
    try:
        optimizer.load_state_dict(torch.load(path))
    except ValueError as error:
        raise RuntimeError("optimiser of another model") from error
    return missing, unexpected
