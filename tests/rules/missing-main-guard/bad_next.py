from tqdm import tqdm
from torch.utils.data import DataLoader
from torchvision.datasets import FakeData

loader = DataLoader(FakeData(size=64), batch_size=None, num_workers=2, multiprocessing_context="spawn")
images, labels = next(iter(loader))
for batch in tqdm(loader):
    pass
