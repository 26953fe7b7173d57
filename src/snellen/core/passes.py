"""Passes of a run's images through its networks, as the fact `flow` tells them, sorted by what stops them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from snellen.core.facts.model import FlowFacts
from snellen.core.finding import Evidence, Finding, Fix, FixSafety, Level
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet

__all__ = ["UNKNOWN", "before_by_passing", "passes_stopped_by", "stopped_by"]

UNKNOWN: Final = "forward-stops"
"""The rule for passes that end in a way which no other rule knows."""

_SAYS: Final = (
    ("batchnorm-single-value", r"Expected more than 1 (?:value per channel|spatial element) when training"),
    ("patch-multiple", r"multiple of|divisible by|is not divisible|not a multiple|are not even|Wrong input shape"),
    ("channel-mismatch", r"channels, but got|running_mean should contain|number of channels"),
    ("linear-shape", r"cannot be multiplied|same reduction dim|mat1 dim 1|size mismatch, m1"),
    ("dtype-mismatch", r"same dtype|expected scalar type|[Ii]nput type .+ and (?:bias|weight) type"),
    ("device-mismatch", r"on the same device"),
    ("view-stride", r"view size is not compatible|Cannot view a tensor"),
    (
        "spatial-mismatch",
        (
            r"[Ss]izes of tensors must match|size of tensor a|doesn't match model|must match the size"
            r"|is invalid for input of|[Oo]utput size is too small|Kernel size can't be greater|shape mismatch"
        ),
    ),
)
"""What the message of a module says, by the rule that knows it; the first that fits."""


def stopped_by(flow: FlowFacts) -> str:
    """The rule that knows why a pass did not end, `forward-stops` when none does, `""` for one that did.

    Example:
        >>> said = "AssertionError: Input height (520) should be divisible by patch size (14)."
        >>> stopped_by(FlowFacts("net", "model", 1, 520, 518, "", said))
        'patch-multiple'
    """
    found = next((slug for slug, pattern in _SAYS if re.search(pattern, flow.problem)), "")
    if not flow.problem:
        return ""
    # A window or a skip that does not fit says so in many words; that padding mends it tells what it was.
    return "patch-multiple" if found in ("", "spatial-mismatch") and flow.multiple else found or UNKNOWN


def before_by_passing(slug: str) -> BeforeFacet:
    """The before facet of a rule whose failure stops a pass: the run's images are sent through its networks."""
    return BeforeFacet(Cost.SECONDS, lambda plan: passes_stopped_by(slug, plan))


def passes_stopped_by(slug: str, plan: Plan) -> Iterator[Finding]:
    """One finding for each network that one rule's failure stops, with all sizes that fail as evidence.

    Raises:
        NotApplicable: No image was sent through a network.
    """
    flows: Sequence[FlowFacts] = plan.fact("flow")
    if not flows:
        raise NotApplicable("no network of the run takes images")
    for part in dict.fromkeys(flow.part for flow in flows):
        stopped = [flow for flow in flows if flow.part == part and flow.problem and stopped_by(flow) == slug]
        if stopped:
            yield _finding(slug, stopped, plan)


def _finding(slug: str, stopped: Sequence[FlowFacts], plan: Plan) -> Finding:
    first = stopped[0]
    said = first.problem if slug == UNKNOWN else first.problem.partition(": ")[2] or first.problem
    images = f"{first.batch} images" if slug == UNKNOWN else "images"
    message = f"{first.part} stops {first.where()}: {images} of {first.height} x {first.width} ({first.why}): {said}"
    evidence = tuple(
        Evidence(f"{flow.batch} x {flow.height} x {flow.width} ({flow.why}): {flow.problem}") for flow in stopped[:20]
    )
    key = "data.image_size" if first.why.startswith("data.image_size") else first.key
    place = setting_place(plan, key)
    # What no rule knows may be a matter of tensors without numbers, which real ones pass.
    level = Level.WARNING if slug == UNKNOWN else Level.ERROR
    return Finding(slug, level, message, place, evidence, _fix(first, stopped))


_FIXES: Final = {
    "view-stride": "Write reshape instead of view, which copies where it has to.",
    "device-mismatch": "Make the tensor on the input's device (device=x.device), or register it as a buffer.",
    "dtype-mismatch": "Make the tensor in the input's dtype (dtype=x.dtype), and convert no part by hand.",
    "channel-mismatch": "Give that layer as many input channels as arrive, or convert the images.",
}
_TRY_NUMBERS: Final = "Run it with real numbers: `snellen check RUN.yaml --rehearse` takes two steps on a few samples."


def _fix(first: FlowFacts, stopped: Sequence[FlowFacts]) -> Fix | None:  # noqa: PLR0911 - one answer per case
    slug = stopped_by(first)
    if slug in _FIXES:
        return Fix(_FIXES[slug])
    if slug == "linear-shape":
        arrives = f"{first.given[0][-1]:,} input features" if first.given and first.given[0] else "what arrives"
        return Fix(f"Give that layer {arrives}, or put nn.AdaptiveAvgPool2d(1) before the flattening.")
    if first.single_value:
        return None
    if slug == UNKNOWN and first.fits is None:
        return Fix(_TRY_NUMBERS)
    if first.fits is None:
        return Fix("No padding goes through, up to multiples of 224: change the network, or what the images hold.")
    height, width = first.fits
    if first.why.startswith("data.image_size"):
        size = height if height == width else [height, width]
        text = f"Write data.image_size: {size}, which goes through."
        reason = "results change with the size of images"
        return Fix(text, FixSafety.UNSAFE, reason, settings=(("data.image_size", size),))
    if first.multiple is None:
        return Fix(f"The network is made for {height} x {width}: bring the images to that size, data.image_size.")
    multiple = max(flow.multiple or 1 for flow in stopped)
    text = f"Pad to multiples of {multiple}: {first.height} x {first.width} becomes {height} x {width}."
    return Fix(text, FixSafety.UNSAFE, "results change with the padding", settings=(("data.pad_multiple", multiple),))
