import torch


def pixels(features):
    return features.permute(0, 2, 3, 1).view(-1, features.size(1))


def flat(x, batch):
    swapped = torch.transpose(x, 1, 2)
    swapped = swapped.float()
    return swapped.view(batch, -1)


def columns(matrix):
    return matrix.t().view(-1), matrix.T.view(-1)
