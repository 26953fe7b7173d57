import numpy as np
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder


class RandomRoll:
    """Rolls the image by a random number of pixels."""

    def __init__(self, most, seed=None):
        self.most = most
        self.rng = np.random.default_rng(seed)

    def __call__(self, image):
        return image.roll(int(self.rng.integers(self.most)), dims=-1)


class RandomShift:
    def __init__(self, rng):
        self.rng = rng

    def __call__(self, image):
        return image.roll(int(self.rng.integers(4)), dims=-2)


def build(root):
    shift = RandomShift(np.random.RandomState(0))
    transform = transforms.Compose([transforms.ToTensor(), RandomRoll(8), RandomShift(np.random.RandomState(0)), shift])
    return DataLoader(ImageFolder(root, transform=transform), batch_size=1, num_workers=4)
