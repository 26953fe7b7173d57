from torch.utils.data import DataLoader
from torchvision.datasets import FakeData

loader = DataLoader(FakeData(size=64), batch_size=None, num_workers=0)
for image, label in loader:
    print(image.size, label)
