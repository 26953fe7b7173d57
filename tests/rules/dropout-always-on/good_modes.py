"""Dropout that knows the mode, or is on by intent, or is off."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class Net(nn.Module):
    def __init__(self, width, rate):
        super().__init__()
        self.rate = rate
        self.linear = nn.Linear(width, width)
        self.drop = nn.Dropout(rate)

    def forward(self, x):
        x = F.dropout(x, self.rate, training=self.training)
        x = F.dropout(x, self.rate, self.training)
        if self.training:
            x = F.dropout(x, 0.2)
        x = F.dropout(x, p=0.0)
        x = F.dropout(x, p=self.rate, training=True)
        return self.drop(self.linear(x))

    def attend(self, q, k, v):
        return F.scaled_dot_product_attention(q, k, v, dropout_p=self.rate if self.training else 0.0)

    def attend_plainly(self, q, k, v):
        return F.scaled_dot_product_attention(q, k, v, dropout_p=0.0)


class MCDropout(nn.Module):
    """Monte Carlo dropout: on in either mode, to measure uncertainty."""

    def forward(self, x):
        """Monte Carlo samples."""
        return F.dropout(x, 0.5)


def corrupt(points, rate):
    return F.dropout(points, rate)


def mlp(width):
    return nn.Sequential(nn.Linear(width, width), nn.Dropout(0.1))
