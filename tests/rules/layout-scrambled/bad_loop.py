from einops import rearrange


def maps(model, x):
    features = []
    for level in model.forward_intermediates(x, intermediates_only=True):
        features.append(level.float().permute(0, 3, 1, 2).contiguous())
    first = rearrange(model.forward_intermediates(x, intermediates_only=True)[0], "b h w c -> b c h w")
    return features, first
