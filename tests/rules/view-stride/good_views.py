def tokens(features, batch, channels):
    return features.permute(0, 2, 3, 1).view(batch, -1, channels)


def heads(x, batch, length, number):
    return x.transpose(1, 2).view(batch, length, number, -1)


def copied(x):
    return x.permute(0, 2, 3, 1).contiguous().view(-1)


def back(x, channels):
    return x.permute(0, 3, 1, 2).permute(0, 2, 3, 1).view(-1, channels)


def plain(x, size):
    x = x.transpose(1, 2)
    return x.view(size), x.reshape(-1)


def right(output, target, topk=(1,)):
    pred = output.topk(max(topk), 1)[1].t()
    correct = pred.eq(target.view(1, -1).expand_as(pred)).contiguous()
    return [correct[:k].view(-1).float().sum() for k in topk]


def resized(chunks, channels):
    found = []
    for features in chunks:
        features = features.reshape(1, 8, 8, channels).permute(0, 3, 1, 2)
        features = features.relu()
        found.append(features.permute(0, 2, 3, 1).view(-1, channels))
    return found
