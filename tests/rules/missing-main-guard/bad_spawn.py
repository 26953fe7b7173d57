import torch.multiprocessing as mp


def train(rank, world_size):
    print(rank, world_size)


mp.spawn(train, args=(2,), nprocs=2)
