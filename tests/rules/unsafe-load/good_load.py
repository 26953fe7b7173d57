import io
import os
from pathlib import Path

import numpy as np
import torch
import yaml
from ruamel.yaml import YAML

BUNDLED = Path(__file__).with_name("calibration.pth")


def resume(model, path, trusted):
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(checkpoint["model"])
    other = torch.load(path, weights_only=not trusted)
    return checkpoint, other


def copied(model):
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    return torch.load(buffer)


def calibration():
    return torch.load(BUNDLED)


def either(path):
    try:
        return torch.load(path, weights_only=True)
    except TypeError:
        return torch.load(path)


def settings(path):
    reader = YAML(typ="safe")
    with open(path) as file:
        return yaml.safe_load(file), yaml.load(file, Loader=yaml.SafeLoader), reader.load(path)


def features(folder):
    return np.load(os.path.join(folder, "features.npy"))
