import os
import subprocess
import sys


def prepare() -> None:
    subprocess.check_call([sys.executable, "-m", "pip", "install", "torch==1.13.1", "torchvision==0.13.1"])


def prepare_colab() -> None:
    os.system("pip install torch==2.4.1+cu121 torchvision==0.18.0+cu121 timm")
