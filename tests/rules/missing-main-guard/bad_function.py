import argparse

from torch.utils.data import DataLoader
from torchvision.datasets import FakeData

parser = argparse.ArgumentParser()
parser.add_argument("--workers", type=int, default=2)
args = parser.parse_args()


def main():
    loader = DataLoader(FakeData(size=64), batch_size=None, num_workers=args.workers)
    for image, label in loader:
        print(image.size, label)


main()
