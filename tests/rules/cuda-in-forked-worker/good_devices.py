import torch
from torch.utils.data import DataLoader, Dataset

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class OnCpu(Dataset):
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return torch.as_tensor(self.images[index]).to(torch.float32)


class OnGpu(Dataset):
    """All images are on the GPU; they are drawn in this process."""

    def __init__(self, images):
        self.images = images.cuda()

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index]


def evaluate(model, images):
    model = model.to(device).eval()
    loader = DataLoader(OnCpu(images), batch_size=16, num_workers=4, pin_memory=True)
    second = DataLoader(OnGpu(images), batch_size=16)
    outputs = []
    with torch.inference_mode():
        for batch in loader:
            outputs.append(model(batch.to(device, non_blocking=True)).cpu())
        for batch in second:
            outputs.append(model(batch).cpu())
    return torch.cat(outputs)
