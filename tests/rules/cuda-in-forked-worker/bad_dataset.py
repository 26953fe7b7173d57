import torch
from torch.utils.data import DataLoader, Dataset

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Images(Dataset):
    def __init__(self, images, labels):
        self.images = images
        self.labels = labels.cuda()

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = torch.as_tensor(self.images[index]).to(device)
        return self._normalise(image), self.labels[index]

    def _normalise(self, image):
        mean = torch.tensor([0.485, 0.456, 0.406], device="cuda:0")
        return image - mean[:, None, None]


def build(images, labels):
    dataset = Images(images, labels)
    return DataLoader(dataset, batch_size=16, shuffle=True, num_workers=4)
