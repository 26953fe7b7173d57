"""Short marks of every network of timm and torchvision, by which a checkpoint's own network is looked up.

A mark says nothing by itself: what it points to is built without weights and compared tensor by tensor. The marks lie
in `fingerprints.json`; `python -m snellen.models.backbones.fingerprints` writes it anew for the versions that are
installed (about five minutes). Networks that a newer library has added are found by what they share with the others.
"""

from __future__ import annotations

import base64
import importlib
import importlib.util
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

__all__ = ["Mark", "Shapes", "candidates", "is_head", "is_position", "known_marks", "mark_of", "shapes_without_weights"]

Shapes = Mapping[str, tuple[int, ...]]
"""Names of tensors to their shapes."""

_TABLE = Path(__file__).with_name("fingerprints.json")
_KEPT = 12
_HEAD = re.compile(r"^(?:head\w*|fc\d?|classifier\w*|last_linear|aux\w*|Aux\w*|linear|output|logits)\.")
_POSITION = re.compile(r"pos_embed|position|relative|rel_pos|rope|attn_mask|attention_bias")
_BUFFER = re.compile(r"num_batches_tracked|running_mean|running_var|anchor|grid$|freqs|periods")
_FEW_CHANNELS = (1, 2, 3, 4, 6)


@dataclass(frozen=True, slots=True)
class Mark:
    """What a network is looked up by.

    Args:
        names: Networks that share it, with their library: `timm:resnet50`.
        count: Tensors that were counted: no head, no position embedding, no running statistics.
        exact: Checksum over their names and shapes.
        shapes: Checksum over their shapes alone, for networks whose tensors have other names.
        sketch: The smallest checksums of single names and shapes: two networks share many when they are alike.
    """

    names: tuple[str, ...]
    count: int
    exact: int
    shapes: int
    sketch: tuple[int, ...]


def is_head(name: str) -> bool:
    """Whether a tensor belongs to the last layers, which are made anew for other classes.

    Example:
        >>> is_head("fc.weight"), is_head("layer1.0.conv1.weight")
        (True, False)
    """
    return _HEAD.search(name) is not None


def is_position(name: str) -> bool:
    """Whether a tensor's shape follows the size of the images."""
    return _POSITION.search(name) is not None


def mark_of(shapes: Shapes, names: tuple[str, ...] = ()) -> Mark:
    """The mark of a set of tensors.

    Example:
        >>> mark_of({"conv.weight": (8, 3, 3, 3), "fc.weight": (2, 8)}).count
        1
    """
    core = {
        name: _any_channels(shape)
        for name, shape in shapes.items()
        if shape and not is_head(name) and not is_position(name) and not _BUFFER.search(name)
    }
    checksums = sorted(zlib.crc32(f"{name}:{shape}".encode()) for name, shape in core.items())
    together = zlib.crc32(" ".join(map(str, checksums)).encode())
    # Chains of sides of 1 differ between one writer and the next: (1, 64, 1, 1) and (64,) are one scale.
    alike = sorted(str(tuple(side for side in shape if side > 1)) for shape in core.values())
    return Mark(names, len(core), together, zlib.crc32(" ".join(alike).encode()), tuple(checksums[:_KEPT]))


def _any_channels(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The first convolution is changed for images of other channels."""
    return (shape[0], 3, *shape[2:]) if len(shape) == 4 and shape[1] in _FEW_CHANNELS else shape


def candidates(shapes: Shapes, *, most: int = 6) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """Groups of networks that a set of tensors may belong to: by names and shapes, and by shapes alone."""
    own = mark_of(shapes)
    if not own.count:
        return [], []
    exact = [mark.names for mark in known_marks() if mark.exact == own.exact]
    alike = sorted(((_likeness(own, mark), mark.names) for mark in known_marks()), reverse=True)
    near = [names for likeness, names in alike[:most] if likeness > 0 and names not in exact]
    renamed = [mark.names for mark in known_marks() if mark.shapes == own.shapes and mark.exact != own.exact]
    return exact + near[: max(0, most - len(exact))], renamed[:most]


def _likeness(own: Mark, other: Mark) -> float:
    """An estimate of the share of tensors that two networks have in common."""
    union = sorted(set(own.sketch) | set(other.sketch))[:_KEPT]
    shared = sum(item in own.sketch and item in other.sketch for item in union)
    size = min(own.count, other.count) / max(own.count, other.count, 1)
    return shared / max(1, len(union)) + 0.2 * size if shared else 0.0


@cache
def known_marks() -> tuple[Mark, ...]:
    """The marks of `fingerprints.json`."""
    table = json.loads(_TABLE.read_text(encoding="utf-8"))
    return tuple(
        Mark(tuple(names.split()), count, exact, shapes, _unpacked(sketch))
        for names, count, exact, shapes, sketch in table["networks"]
    )


def _unpacked(text: str) -> tuple[int, ...]:
    raw = base64.b64decode(text)
    return tuple(int.from_bytes(raw[place : place + 4], "big") for place in range(0, len(raw), 4))


def shapes_without_weights(build: Callable[[], nn.Module]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a network's tensors; none is allocated."""
    try:
        with torch.device("meta"):
            state = build().state_dict()
    except (RuntimeError, NotImplementedError):
        # Some networks read numbers out of tensors while they are built; theirs are given up layer by layer.
        with _parameters_given_up():
            state = build().state_dict()
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


@contextmanager
def _parameters_given_up() -> Iterator[None]:
    """Inside, a parameter keeps its memory only until its layer is made."""
    register = nn.Module.register_parameter

    def registered(self: nn.Module, name: str, param: nn.Parameter | None) -> None:
        kept = None if param is None else nn.Parameter(param.detach().to("meta"), requires_grad=param.requires_grad)
        register(self, name, kept)

    nn.Module.register_parameter = registered  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module.register_parameter = register  # type: ignore[method-assign]


def _library() -> Iterator[tuple[str, Callable[[], Any]]]:
    from snellen.models.backbones.named import named_model  # noqa: PLC0415 - only for writing the table

    names = [f"timm:{name}" for name in timm.list_models()]
    if importlib.util.find_spec("torchvision") is not None:
        models = importlib.import_module("torchvision.models")
        names += [f"torchvision:{str(name).rpartition('/')[2]}" for name in models.list_models()]
    for name in names:
        yield name, named_model(name).build


def write_table(networks: Iterable[tuple[str, Callable[[], Any]]], path: Path) -> int:
    """Write the marks of networks; returns how many marks there are."""
    groups: dict[tuple[int, int, int, tuple[int, ...]], list[str]] = {}
    for name, build in networks:
        mark = mark_of(shapes_without_weights(build))
        groups.setdefault((mark.count, mark.exact, mark.shapes, mark.sketch), []).append(name)
    rows = [
        [" ".join(names), count, exact, shapes, _packed(sketch)]
        for (count, exact, shapes, sketch), names in sorted(groups.items(), key=lambda item: item[1])
    ]
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    path.write_text(f'{{"timm": "{timm.__version__}", "networks": [\n{lines}\n]}}\n', encoding="utf-8")
    return len(rows)


def _packed(sketch: tuple[int, ...]) -> str:
    return base64.b64encode(b"".join(item.to_bytes(4, "big") for item in sketch)).decode()


if __name__ == "__main__":
    print(write_table(_library(), _TABLE), "networks")  # noqa: T201 - a program for maintainers
