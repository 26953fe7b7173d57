"""A model with a part that is not used in every step, wrapped so that it is searched for."""

from torch import nn
from torch.nn.parallel import DistributedDataParallel


class Tasks(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.shared_trunk = nn.Linear(768, width)
        self.reserve = nn.Linear(width, 10)

    def forward(self, x):
        return self.shared_trunk(x)


def wrap(rank):
    return DistributedDataParallel(Tasks(64).to(rank), device_ids=[rank], find_unused_parameters=True)
