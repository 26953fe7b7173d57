from pathlib import Path

from PIL import Image
from torch.utils.data import Dataset
from torchvision import transforms as T
from torchvision.transforms import functional as TF


class Shared(Dataset):
    def __init__(self, folder):
        self.images = sorted(Path(folder, "images").iterdir())
        self.masks = sorted(Path(folder, "masks").iterdir())
        self.transform = T.Compose([T.Resize((256, 256)), T.PILToTensor()])

    def __getitem__(self, index):
        image = Image.open(self.images[index]).convert("RGB")
        mask = Image.open(self.masks[index])
        return self.transform(image), self.transform(mask)


class Separate(Dataset):
    def __init__(self, folder):
        self.images = sorted(Path(folder, "images").iterdir())
        self.masks = sorted(Path(folder, "masks").iterdir())

    def __getitem__(self, index):
        image = TF.to_tensor(TF.resize(Image.open(self.images[index]), [256, 256]))
        mask = TF.resize(Image.open(self.masks[index]), [256, 256])
        return image, TF.pil_to_tensor(mask)
