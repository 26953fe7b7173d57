import torch


def accuracy(output, target, topk=(1, 5)):
    maxk = max(topk)
    _, pred = output.topk(maxk, 1, True, True)
    pred = pred.t()
    correct = pred.eq(target.view(1, -1).expand_as(pred))
    result = []
    for k in topk:
        correct_k = correct[:k].reshape(-1).float().sum(0, keepdim=True)
        result.append(correct_k.mul_(100.0 / target.size(0)))
    return result


def error(output, target):
    top = torch.topk(output, 5)[1].transpose(0, 1)
    hits = top == target
    return 1 - hits[:5].reshape(-1).float().mean()
