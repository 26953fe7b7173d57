"""The networks of a run, and what happens to the run's images inside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["BatchFacts", "FlowFacts", "NetworkFacts", "UnusedFacts"]


@dataclass(frozen=True, slots=True)
class BatchFacts:
    """How many images a step of training takes, as the run file says or the task's defaults do.

    Args:
        size: Images of a micro-batch on one device.
        accumulate: Micro-batches of a step.
        devices: That the run trains on; 1 for `auto`.
    """

    size: int
    accumulate: int = 1
    devices: int = 1

    @property
    def step(self) -> int:
        """Images of a full step.

        Example:
            >>> BatchFacts(8, accumulate=4, devices=2).step
            64
        """
        return self.size * self.accumulate * self.devices


@dataclass(frozen=True, slots=True)
class NetworkFacts:
    """A network that takes the run's images; the checks' own providers build it, rules only read the rest.

    Args:
        part: For people: `timm:resnet50`.
        key: Key path that decides it.
        build: Makes it, on whatever device is current.
        channels: Of the images that it takes.
        sizes: `(height, width)` that the run brings images to before they reach it, and why; empty where that follows
            from the settings and the data alone.
        named_size: `(height, width)` that its library states for it, `None` without.
        takes_list: Whether it takes a list of images.
    """

    part: str
    key: str
    build: Callable[[], Any]
    channels: int = 3
    sizes: tuple[tuple[int, int, str], ...] = ()
    named_size: tuple[int, int] | None = None
    takes_list: bool = False


@dataclass(frozen=True, slots=True)
class FlowFacts:
    """One pass of images through a network, on tensors that have shapes and no numbers.

    Args:
        part: The network.
        key: Key path that decides it.
        batch: Images that it was given.
        height: Of each.
        width: Of each.
        why: Where that size and that number come from.
        problem: What it said, `""` when they went through.
        module: Where, `""` for the network itself.
        kind: Class of that module.
        given: Shapes that it was given.
        fits: `(height, width)` of the smallest padded size that goes through; `None` when none was found.
        multiple: Sides are multiples of this then.
    """

    part: str
    key: str
    batch: int
    height: int
    width: int
    why: str
    problem: str = ""
    module: str = ""
    kind: str = ""
    given: tuple[tuple[int, ...], ...] = ()
    fits: tuple[int, int] | None = None
    multiple: int | None = None

    @property
    def single_value(self) -> bool:
        """Whether a normalisation over the batch was given one value for each channel."""
        return "more than 1" in self.problem and "when training" in self.problem

    def where(self) -> str:
        """For people: the module that failed and what it was given.

        Example:
            >>> FlowFacts("net", "model", 1, 5, 5, "", "E", "head.fc", "Linear", ((1, 8),)).where()
            'in head.fc (Linear), given 1x8'
        """
        shapes = ", ".join("x".join(map(str, shape)) for shape in self.given)
        place = f"in {self.module} ({self.kind})" if self.module else "in the network itself"
        return f"{place}, given {shapes}" if shapes else place


@dataclass(frozen=True, slots=True)
class UnusedFacts:
    """What the loss of a run does not reach; asked for runs on several devices only.

    Args:
        devices: That the run trains on.
        names: Parameters that are to be trained and get no gradient.
    """

    devices: int
    names: tuple[str, ...]
