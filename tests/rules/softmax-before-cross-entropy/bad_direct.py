import torch
import torch.nn as nn
import torch.nn.functional as F

criterion = nn.CrossEntropyLoss(label_smoothing=0.1)


def inline(model, images, labels):
    return criterion(F.softmax(model(images), dim=1), labels)


def by_name(model, images, labels):
    logits = model(images)
    probabilities = torch.softmax(logits, dim=-1)
    loss = F.cross_entropy(probabilities, labels)
    return loss, probabilities


def by_method(model, images, masks):
    output = model(images).softmax(1)
    return nn.CrossEntropyLoss(ignore_index=255)(output, masks)


def by_likelihood(model, images, labels):
    output = F.softmax(model(images), dim=1)
    return F.nll_loss(output, labels)
