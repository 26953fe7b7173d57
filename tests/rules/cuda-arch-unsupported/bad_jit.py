from os import environ

from torch.utils.cpp_extension import load

ARCHITECTURES = "8.0 8.6"
environ["TORCH_CUDA_ARCH_LIST"] = ARCHITECTURES
warp = load("warp", ["warp.cu"])
