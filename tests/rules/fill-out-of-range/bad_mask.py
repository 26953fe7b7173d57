import torch
import torch.nn.functional as F

NEGATIVE = -1e9


def attend(scores, mask, values):
    scores = scores.masked_fill(mask, -1e9)
    other = scores.masked_fill_(mask, value=NEGATIVE)
    big = torch.full_like(scores, 1e6)
    return F.softmax(scores, dim=-1) @ values, other, big
