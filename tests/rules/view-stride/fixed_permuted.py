import torch


def pixels(features):
    return features.permute(0, 2, 3, 1).reshape(-1, features.size(1))


def flat(x, batch):
    swapped = torch.transpose(x, 1, 2)
    swapped = swapped.float()
    return swapped.reshape(batch, -1)


def columns(matrix):
    return matrix.t().reshape(-1), matrix.T.reshape(-1)
