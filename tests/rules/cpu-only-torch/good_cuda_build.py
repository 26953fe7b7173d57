import os

import torch

os.system("pip install torch==2.4.1 --index-url https://download.pytorch.org/whl/cu124")
model = torch.nn.Linear(4, 2).cuda()
