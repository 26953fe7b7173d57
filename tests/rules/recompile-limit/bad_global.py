from torch import Tensor, compile

CALLS = 0


@compile
def augment(x: Tensor) -> Tensor:
    global CALLS
    CALLS = CALLS + 1
    return x.flip(-1)
