import os

os.environ["CUDA_VISIBLE_DEVICES"] = "2,3"

import torch

device = torch.device("cuda:1")
model = torch.nn.DataParallel(torch.nn.Linear(8, 2), device_ids=[0, 1])
model = model.cuda(0)
