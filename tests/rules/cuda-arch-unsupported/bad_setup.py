import os

from setuptools import setup
from torch.utils.cpp_extension import BuildExtension, CUDAExtension

os.environ["TORCH_CUDA_ARCH_LIST"] = "6.0;6.1;7.0;7.5"

setup(
    name="deform_ops",
    ext_modules=[CUDAExtension("deform_ops", ["deform.cu"])],
    cmdclass={"build_ext": BuildExtension},
)
