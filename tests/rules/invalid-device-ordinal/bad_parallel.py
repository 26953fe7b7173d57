import os

import torch
from torch.nn import DataParallel, Linear

GPUS = "0,1"
os.environ["CUDA_VISIBLE_DEVICES"] = GPUS


def build() -> torch.nn.Module:
    model = DataParallel(Linear(8, 2).cuda(), device_ids=[0, 1, 2, 3])
    state = torch.load("model.pth", map_location="cuda:3", weights_only=True)
    model.load_state_dict(state)
    return model
