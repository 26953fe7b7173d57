"""Which network a checkpoint belongs to, told from its tensors' names and shapes, with the evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from snellen.core.facts.weights import Architecture, TensorEntry
from snellen.models.backbones.matching import match_networks
from snellen.models.weights.contents import shared_prefix
from snellen.models.weights.published import recognise_published

__all__ = ["recognise"]

_MOST_TENSORS = 20_000


def recognise(state: Iterable[TensorEntry], *, key: str = "") -> Architecture:
    """The network that tensors belong to; a name of `""` says that it cannot be told.

    Args:
        state: Names and shapes.
        key: Key path of the checkpoint.

    Example:
        >>> from snellen.models.backbones.matching import shapes_of_model
        >>> found = recognise(TensorEntry(name, shape) for name, shape in shapes_of_model("resnet18").items())
        >>> found.name, found.classes
        ('resnet18', 1000)
    """
    shapes = {entry.name: entry.shape for entry in state}
    if not shapes or len(shapes) > _MOST_TENSORS:
        return Architecture(
            key, evidence=("it holds no tensors that are named",) if not shapes else ("too many tensors",)
        )
    best = Architecture(key)
    for prefix, part in _views(shapes):
        found = recognise_published(part) or match_networks(part)
        if found is None:
            continue
        if prefix:
            found = replace(found, evidence=(*found.evidence, f"without the prefix {prefix!r} of its names"))
        if found.name and found.share > 0:
            return replace(found, key=key)
        # Shapes alone, or a family without a size, count as long as no other view of the names says more.
        if (bool(found.name), found.share) > (bool(best.name), best.share) or not (best.name or best.nearest):
            best = replace(found, key=key)
    return best


def _views(shapes: Mapping[str, tuple[int, ...]]) -> Iterable[tuple[str, dict[str, tuple[int, ...]]]]:
    """The tensors with fewer and fewer prefixes: what all share, then the part that holds the most."""
    yield "", dict(shapes)
    prefix = shared_prefix(list(shapes))
    if prefix:
        yield prefix, {name.removeprefix(prefix): shape for name, shape in shapes.items()}
    firsts = Counter(".".join(name.split(".")[:depth]) + "." for name in shapes for depth in (1, 2))
    large = [first for first, count in firsts.most_common(6) if 0.3 * len(shapes) <= count < len(shapes)]
    for first in large:
        if not first[:-1].rpartition(".")[2].isdigit() and prefix != first:
            yield first, {name.removeprefix(first): shape for name, shape in shapes.items() if name.startswith(first)}
