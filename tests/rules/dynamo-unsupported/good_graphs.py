import time

import torch


class Head(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not torch.compiler.is_compiling():
            print("head", x.shape)
        return x * 2


@torch.compile
def split(x: torch.Tensor) -> torch.Tensor:
    print("mean", x.mean())
    return x


@torch.compile(fullgraph=True)
def whole(x: torch.Tensor) -> torch.Tensor:
    return torch.where(x > 0, x, -x)


head = torch.compile(Head(), fullgraph=True)
start = time.perf_counter()
head(torch.ones(2))
print(time.perf_counter() - start)
