import torch


def attend(scores, mask, distances):
    scores = scores.masked_fill(mask, torch.finfo(scores.dtype).min)
    scores = scores.masked_fill(mask, float("-inf"))
    scores = scores.masked_fill(mask, -1e4)
    wide = scores.float().masked_fill(mask, -1e9)
    fixed = torch.zeros(3, 3).masked_fill(mask, -1e9)
    far = torch.full((3,), 1e9)
    muted = scores.masked_fill(mask, -1e9)  # snellen: ignore[fill-out-of-range]
    best = {}
    best["x"] = -1e9
    return scores, wide, fixed, far, muted, distances, best
