import torchvision.transforms as T
from PIL import Image
from torch.utils.data import DataLoader, Dataset


class Plates(Dataset):
    def __init__(self, paths, labels):
        self.paths, self.labels = paths, labels
        self.transform = T.Compose([T.RandomCrop(64), T.ColorJitter(0.2), T.ToTensor()])
        self.whole = T.Compose([T.Resize((320)), T.ToTensor()])

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        image = Image.open(self.paths[index]).convert("RGB")
        return self.whole(image), self.labels[index]


def build(paths, labels):
    return DataLoader(Plates(paths, labels), batch_size=16, num_workers=2)
