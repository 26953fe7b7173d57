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


def load_what_fits(model, path):
    state = torch.load(path, weights_only=True)
    own = model.state_dict()
    kept = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
    print(f"{len(kept)} of {len(own)} entries")
    model.load_state_dict(kept, strict=False)
