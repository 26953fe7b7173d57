import argparse
import os

import torch

parser = argparse.ArgumentParser()
parser.add_argument("--gpu", type=str, default="3")
os.environ["CUDA_VISIBLE_DEVICES"] = parser.parse_args().gpu
torch.cuda.set_device(0)
model = torch.nn.Linear(8, 2).to("cuda:0")
other = torch.nn.Linear(8, 2).to("cuda:3")
