import torch.multiprocessing as mp
from torch.utils.data import DataLoader
from torchvision.datasets import FakeData

loader = DataLoader(FakeData(size=64), batch_size=None, num_workers=2)


def main():
    for image, label in loader:
        print(image.size, label)


if __name__ == "__main__":
    mp.set_start_method("spawn")
    main()
