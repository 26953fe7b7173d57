import os

import torch
from torch.utils.cpp_extension import load

major, minor = torch.cuda.get_device_capability()
os.environ["TORCH_CUDA_ARCH_LIST"] = f"{major}.{minor}"
first = load("first", ["first.cu"])
os.environ["TORCH_CUDA_ARCH_LIST"] = "7.0;8.0+PTX"
second = load("second", ["second.cu"])
