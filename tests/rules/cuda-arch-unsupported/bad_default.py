import os

from torch.utils import cpp_extension

os.environ.setdefault("TORCH_CUDA_ARCH_LIST", "7.5")
ops = cpp_extension.load(name="ops", sources=["ops.cu"])
