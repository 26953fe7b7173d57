import torch

GB_PER_IMAGE = 0.35


def choose_batch_size():
    free, _ = torch.cuda.mem_get_info()
    free_gb = free / 1024**3
    batch_size = int(free_gb / 0.5)
    return max(1, batch_size)


def choose_tiles(device):
    total = torch.cuda.get_device_properties(device).total_memory / 1e9
    usable = total * 0.9
    tiles = int(usable // GB_PER_IMAGE)
    return tiles


class Planner:
    def frames_per_clip(self):
        num_frames = int(torch.cuda.mem_get_info()[0] / (1024**2) / 180)
        return num_frames


def loader(data, device):
    free = torch.cuda.mem_get_info(device)[0]
    return torch.utils.data.DataLoader(data, batch_size=max(1, free // (2 * 1024**3)))
