import os

os.environ["CUDA_VISIBLE_DEVICES"] = "2"

import torch

device = torch.device("cuda:2")
model = torch.nn.Linear(8, 2).to(device)
torch.cuda.set_device(2)
