import torch
from torch.utils.data import DataLoader, Dataset
from torchvision.models import resnet18


class Features(Dataset):
    def __init__(self, images, device="cuda"):
        self.images = images
        self.device = "cuda"
        self.encoder = resnet18().eval().to(self.device)

    def __len__(self):
        return len(self.images)

    @torch.inference_mode()
    def __getitem__(self, index):
        return self.encoder(self.images[index][None])[0]


def build(images):
    return DataLoader(Features(images), batch_size=4, num_workers=2)
