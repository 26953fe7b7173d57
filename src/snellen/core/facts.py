"""The facts that before facets ask a plan for, as plain data; the names are those of `Plan.fact`.

config_findings     tuple[Finding, ...]             what is wrong with the run file
source_findings     tuple[Finding, ...]             what the linter says of the run's own code
machine             MachineFacts                    the machine that the run is meant for
precision           str                             fp32, fp16 or bf16, as it will be
paths               tuple[PathFacts, ...]           every path that the run file names
folders             tuple[FolderFacts, ...]         data folders
images              tuple[ImagesFacts, ...]         what their images look like, bad ones by name
unpaired            tuple[str, ...]                 images without mask and masks without image, from the task
weights             tuple[WeightsFacts, ...]        checkpoint files that the run file names
weights_fit         tuple[FitFacts, ...]            how far they fit, from the task
contracts           tuple[dict, ...]                one per model part, from the task
unfold              UnfoldFacts                     sizes for the correlation of features, from the task
stale_modules       tuple[StaleModule, ...]         modules loaded in this process that changed on disk
project             ProjectFacts                    root of the user's code
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from snellen.core.finding import Fix, FixSafety

__all__ = [
    "FLOAT16_MAX",
    "FitFacts",
    "FolderFacts",
    "ImagesFacts",
    "MachineFacts",
    "PathFacts",
    "ProjectFacts",
    "StaleModule",
    "UnfoldFacts",
    "WeightsFacts",
    "clamped_fill",
    "oversized_fills",
]

FLOAT16_MAX: Final = 65504.0
"""The largest finite float16."""


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """The machine that a run is meant for.

    Args:
        name: As in `machine:`, or this machine's own.
        here: Whether it is this machine; then the numbers are measured.
        accelerator: `cuda`, `mps` or `cpu`.
        devices: Number of accelerators, 1 for a CPU.
        bf16: Whether it computes bfloat16 in hardware.
        memory_bytes: Memory of one device (for a CPU what the process may use), `None` when unknown.
        cpus: Cores that the process may use, `None` when unknown.
        shared_memory_bytes: Size of `/dev/shm`, `None` when there is none or it is unknown.
        disk_free_bytes: Free space where the run writes, `None` when unknown.
        notes: What could not be found out, and why.
    """

    name: str
    here: bool
    accelerator: str
    devices: int
    bf16: bool
    memory_bytes: int | None = None
    cpus: int | None = None
    shared_memory_bytes: int | None = None
    disk_free_bytes: int | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PathFacts:
    """A path of the run file.

    Args:
        key: Key path, such as `data.train`.
        given: As written.
        path: From the root.
        exists: Whether there is something.
        other_case: The same path as the disk spells it, when only upper and lower case differ.
        nearest: The name beside it that is spelled most like it.
        siblings: What else stands there, a few names.
        parent_exists: Whether the folder that should hold it is there.
    """

    key: str
    given: str
    path: str
    exists: bool
    other_case: str | None = None
    nearest: str | None = None
    siblings: tuple[str, ...] = ()
    parent_exists: bool = True


@dataclass(frozen=True, slots=True)
class FolderFacts:
    """A data folder that exists.

    Args:
        key: Key path, such as `data.train`.
        path: From the root.
        images: Number of images below it.
        others: Number of other files by suffix.
        problem: Why it cannot be read, `""` when it can.
    """

    key: str
    path: str
    images: int
    others: tuple[tuple[str, int], ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ImagesFacts:
    """The images of a data folder, looked at one by one.

    Args:
        key: Key path of the folder.
        count: Number of images.
        looked_at: Of how many the header was read.
        decoded: Of how many the pixels were decoded, too: an even sample.
        unreadable: Path and reason of those that could not be.
        smallest: `(height, width)`, component by component, `None` without a readable image.
        largest: `(height, width)`, component by component.
    """

    key: str
    count: int
    looked_at: int
    decoded: int
    unreadable: tuple[tuple[str, str], ...] = ()
    smallest: tuple[int, int] | None = None
    largest: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class WeightsFacts:
    """A checkpoint file, read without unpickling anything.

    Args:
        key: Key path that names it.
        path: From the root.
        exists: Whether it is there.
        format: `safetensors`, `torch zip`, `pickle` or `unknown`.
        tensors: Number of tensors, `None` where only loading would tell.
        problem: Why it cannot be used, `""` when nothing was found.
        nearby: Checkpoints in the same folder.
    """

    key: str
    path: str
    exists: bool
    format: str = "unknown"
    tensors: int | None = None
    problem: str = ""
    nearby: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FitFacts:
    """How far weights fit a part of the model.

    Args:
        part: For people: `backbone dinov2_vits14`.
        key: Key path that decides it.
        source: Where the weights come from; `""` when there are none.
        loaded: Tensors that fit.
        total: Tensors of the part.
        missing: Names that stay random, some of them.
        frozen: Whether the part is not trained.
    """

    part: str
    key: str
    source: str
    loaded: int
    total: int
    missing: tuple[str, ...] = ()
    frozen: bool = False


@dataclass(frozen=True, slots=True)
class UnfoldFacts:
    """Sizes of the features that patches are taken from in the run.

    Args:
        batch: Images per device.
        channels: Channels of the feature map.
        height: Rows of the feature map.
        width: Columns of the feature map.
        bytes_per_value: 2 in half precision, else 4.
        why: Where the numbers come from.
    """

    batch: int
    channels: int
    height: int
    width: int
    bytes_per_value: int
    why: str = ""

    def bytes_for(self, patch: int, stride: int) -> int:
        """Memory of `unfold(features, patch, stride=stride)`.

        Example:
            >>> facts = UnfoldFacts(8, 384, 100, 100, 4)
            >>> round(facts.bytes_for(12, 4) / 2**30, 2)
            0.87
        """
        rows = max(0, (self.height - patch) // stride + 1)
        columns = max(0, (self.width - patch) // stride + 1)
        return self.batch * self.channels * patch * patch * rows * columns * self.bytes_per_value


@dataclass(frozen=True, slots=True)
class StaleModule:
    """A loaded module whose source has changed since.

    Args:
        name: As in `sys.modules`.
        path: Its source.
        changed: Qualified names of functions and classes whose code differs, `<module>` for the top level.
        how: `changed`, `deleted` or `moved`.
    """

    name: str
    path: str
    changed: tuple[str, ...] = ()
    how: str = "changed"


@dataclass(frozen=True, slots=True)
class ProjectFacts:
    """The user's project around a run.

    Args:
        root: Its folder.
        markers: What it was recognised by, such as `.git`.
        nested: Copies of the project inside itself: a repository cloned into its own checkout.
        inside_nested: Whether the run file stands in such a copy.
        shadowed: `(module, imported from, expected)`: the run's code that Python would import from another copy.
    """

    root: str
    markers: tuple[str, ...] = ()
    nested: tuple[str, ...] = ()
    inside_nested: bool = False
    shadowed: tuple[tuple[str, str, str], ...] = ()


def oversized_fills(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Settings that name a fill or mask value which float16 cannot hold: key path and value.

    Example:
        >>> list(oversized_fills({"model": {"mask_value": -1e9, "max_pixels": 1e9}}))
        [('model.mask_value', -1000000000.0)]
    """
    for name, value in settings.items():
        key = f"{prefix}.{name}" if prefix else str(name)
        if isinstance(value, Mapping):
            yield from oversized_fills(value, key)
        elif isinstance(value, (int, float)) and any(word in str(name) for word in ("fill", "mask")):
            number = float(value)
            yield from ((key, number),) if FLOAT16_MAX < abs(number) < math.inf else ()


def clamped_fill(key: str, value: float, reason: str) -> Fix:
    """The fix for a setting of `oversized_fills`: the largest number of the same sign that float16 holds.

    Example:
        >>> clamped_fill("model.mask_value", -1e9, "it masks as well").settings
        (('model.mask_value', -65504.0),)
    """
    largest = math.copysign(FLOAT16_MAX, value)
    return Fix(f"Write {key}: {largest:.0f}", FixSafety.SAFE, reason, settings=((key, largest),))
