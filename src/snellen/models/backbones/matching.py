"""Which network of timm, torchvision or segmentation_models_pytorch a set of tensors belongs to, by building them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import timm

from snellen.core.facts.weights import Architecture
from snellen.errors import SnellenError
from snellen.models.backbones.fingerprints import Shapes, candidates, is_head, is_position, shapes_without_weights
from snellen.models.backbones.named import named_model
from snellen.models.weights.published import square_grid

__all__ = ["licence_in_timm", "match_networks", "shapes_of_model"]

_ENOUGH = 0.98
"""Share of a network's tensors from which it counts as recognised: a pruned norm or two may be missing."""
_MOST_BUILT = 24
_DECODERS = (
    ("decoder.blocks.x_0_0.", "UnetPlusPlus"),
    ("decoder.p5.", "FPN"),
    ("decoder.aspp.", "DeepLabV3Plus"),
    ("decoder.psp.", "PSPNet"),
    ("decoder.fpa.", "PAN"),
    ("decoder.mlp_stage.", "Segformer"),
    ("decoder.center.", "MAnet"),
    ("decoder.blocks.0.block.0.", "Linknet"),
    ("decoder.blocks.0.conv1.", "Unet"),
    ("decoder.0.convs.", "DeepLabV3"),
)


@dataclass(frozen=True, slots=True)
class _Compared:
    name: str
    share: float
    exact: int
    total: int


def shapes_of_model(name: str, **options: object) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors of a model by name; none is allocated.

    Example:
        >>> shapes_of_model("resnet18")["fc.weight"]
        (1000, 512)
    """
    return shapes_without_weights(named_model(name, **options).build)


def match_networks(shapes: Shapes) -> Architecture | None:
    """The network that has these tensors, `None` when no library here has any like it.

    Args:
        shapes: Without what wrappers put in front of the names.
    """
    groups, renamed = candidates(shapes)
    compared = sorted(_compare(shapes, groups), key=lambda one: (-one.share, -one.exact, len(one.name), one.name))
    best = compared[0] if compared else None
    if best is None or best.share < _ENOUGH:
        if renamed:
            why = ("all shapes are those of this network, under other names",)
            return Architecture("", renamed[0][0], renamed[0][0].partition(":")[0], 0.0, why, renamed[0][1:])
        return _segmentation(shapes) or _nearest(best)
    same = [
        one.name for one in compared if one.share == best.share and one.exact == best.exact and one.name != best.name
    ]
    # Hidden layers of a head come before its last one.
    heads = [shape[0] for name, shape in shapes.items() if is_head(name) and name.endswith("weight") and len(shape) > 1]
    evidence = f"{best.exact} of {best.total} tensors have the names and shapes of {best.name}"
    grid, side = _position(shapes)
    licence, source = licence_in_timm([best.name, *same])
    library, _, name = best.name.partition(":")
    return Architecture(
        "",
        name,
        library,
        best.share,
        (evidence,),
        tuple(same[:8]),
        (),
        heads[-1] if heads else None,
        grid,
        side,
        licence,
        source,
    )


def _compare(shapes: Shapes, groups: Iterable[tuple[str, ...]]) -> Iterator[_Compared]:
    """Build the candidates, group by group, until one fits in every tensor."""
    built = 0
    for group in groups:
        whole = False
        for name in group:
            built += 1
            if built > _MOST_BUILT:
                return
            try:
                found = _fit(shapes, name)
            except (SnellenError, RuntimeError, TypeError, ValueError, ImportError, AssertionError, AttributeError):
                continue
            whole = whole or found.exact == found.total == len(shapes)
            yield found
        if whole:
            return


def _fit(shapes: Shapes, name: str) -> _Compared:
    other = shapes_of_model(name)
    core = [key for key in other if not is_head(key) and not is_position(key) and other[key]]
    fits = sum(_same(shapes.get(key), other[key]) for key in core)
    # What the file has beyond the network counts against it: seresnet50 holds all of resnet50.
    own = sum(1 for key in shapes if not is_head(key) and not is_position(key) and shapes[key])
    exact = sum(shapes.get(key) == shape for key, shape in other.items())
    return _Compared(name, fits / max(1, len(core), own), exact, len(other))


def _same(given: tuple[int, ...] | None, wanted: tuple[int, ...]) -> bool:
    if given == wanted:
        return True
    # A first convolution for images of other channels is still that network's.
    few = given is not None and len(given) == len(wanted) == 4 and max(given[1], wanted[1]) <= 16
    return bool(few and given is not None and (given[0], *given[2:]) == (wanted[0], *wanted[2:]))


def _nearest(best: _Compared | None) -> Architecture | None:
    if best is None or best.share < 0.3:
        return None
    return Architecture(
        share=best.share, nearest=(best.name,), evidence=(f"{best.share:.0%} of its tensors are those of {best.name}",)
    )


def _segmentation(shapes: Shapes) -> Architecture | None:
    """A network of segmentation_models_pytorch: its encoder by the libraries, its decoder by names."""
    decoder = next((name for begin, name in _DECODERS if any(key.startswith(begin) for key in shapes)), None)
    inside = {key.removeprefix("encoder."): shape for key, shape in shapes.items() if key.startswith("encoder.")}
    if decoder is None or len(inside) < 10:
        return None
    inside = {key.removeprefix("model."): shape for key, shape in inside.items()}
    encoder = match_networks(inside)
    name = encoder.name if encoder is not None else ""
    head = shapes.get("segmentation_head.0.weight")
    evidence = f"a decoder and a segmentation head as {decoder} has them" + (f"; encoder {name}" if name else "")
    return Architecture(
        "",
        f"{decoder}({name or 'encoder unknown'})",
        "smp",
        encoder.share if encoder else 0.0,
        (evidence,),
        classes=head[0] if head else None,
    )


def _position(shapes: Mapping[str, tuple[int, ...]]) -> tuple[tuple[int, int] | None, int | None]:
    """Grid of the position embedding, and the side of images that it is for."""
    positions = shapes.get("pos_embed")
    patch = shapes.get("patch_embed.proj.weight")
    if positions is None:
        return None, None
    grid = (
        (positions[1], positions[2])
        if len(positions) == 4
        else square_grid(positions[-2])
        if len(positions) > 1
        else None
    )
    return grid, grid[0] * patch[-1] if grid is not None and patch is not None and len(patch) == 4 else None


def licence_in_timm(names: Iterable[str]) -> tuple[str, str]:
    """The licence that timm states of all published weights of a network, and who states it.

    Two empty texts when timm states none, or several.

    Example:
        >>> licence_in_timm(["timm:vit_small_patch14_dinov2"])[0]
        'apache-2.0'
    """
    own = [name.removeprefix("timm:") for name in names if name.startswith("timm:")][:1]
    tagged = [name for base in own for name in timm.list_pretrained(f"{base}.*")]
    stated = {str(config.license) for name in tagged if (config := timm.get_pretrained_cfg(name)) is not None}
    if len(stated) != 1 or stated == {"None"}:
        return "", f"timm states {', '.join(sorted(stated))} for its {len(tagged)} sets of weights" if len(
            stated
        ) > 1 else ""
    return stated.pop(), f"timm {timm.__version__}, for all {len(tagged)} sets of weights of this network"
