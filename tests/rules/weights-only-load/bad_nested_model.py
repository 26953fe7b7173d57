from torch import load


def attempt_load(weights):
    return load(weights)["model"].float().eval()
