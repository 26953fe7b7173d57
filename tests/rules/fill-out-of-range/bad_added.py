import torch as th


def bias(attention_mask, scores, logits, banned):
    extended = (1.0 - attention_mask) * -1e9
    logits[:, banned] = -1e10
    chosen = th.where(attention_mask, scores, th.finfo(th.float32).min)
    return scores + extended, chosen
