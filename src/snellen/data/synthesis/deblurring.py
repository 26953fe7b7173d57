"""A sharp video to a deblurring set with ground truth: blurred frames, sharp frames, spikes; repeatable, resumable."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from snellen.core.files import append_json_line, plain, read_json_lines
from snellen.data.spikes.geometry import write_sidecar
from snellen.data.spikes.streams import SpikeFormat, write_spikes
from snellen.data.synthesis.exposure import Exposure, ExposureSettings, expose
from snellen.data.video import FrameSequence, find_sequences
from snellen.data.writing import make_folder, write_png
from snellen.errors import DataError, SnellenError

__all__ = ["DeblurReport", "MadeSequence", "synthesise_deblurring"]

Tell = Callable[[str, int, int], None]
"""Is told what goes on, how many are done, and of how many."""

_MANIFEST = "manifest.jsonl"


@dataclass(frozen=True, slots=True)
class MadeSequence:
    """A sequence of the new set.

    Args:
        name: Its folder.
        split: `train` or `val`.
        frames: Blurred frames in it.
        kept: Whether it was there from an earlier call.
    """

    name: str
    split: str
    frames: int
    kept: bool


@dataclass(frozen=True, slots=True)
class DeblurReport:
    """What was made.

    Args:
        sequences: All in the folder now.
        skipped: Sequences that could not be used, with the reason.
        notes: What a reader should know, one sentence each.
    """

    sequences: tuple[MadeSequence, ...]
    skipped: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]

    def frames(self, split: str) -> int:
        """Blurred frames of a split."""
        return sum(one.frames for one in self.sequences if one.split == split)


def synthesise_deblurring(
    source: str | Path,
    out: str | Path,
    *,
    settings: ExposureSettings | None = None,
    seed: int = 0,
    val_share: float = 0.2,
    tell: Tell | None = None,
) -> DeblurReport:
    """Make a deblurring set from sharp videos, in the layout `SPLIT/SEQUENCE/{blur,sharp,spike}/NNNNNNNN.*`.

    A sequence is whole or made anew: its record is written last. The same call makes the same files. Sequences, not
    frames, are shared out to training and validation.

    Args:
        source: A video, a folder of frames, or a folder of those.
        out: The new folder; one that exists must be from the same source, settings and seed.
        settings: Of blur and spikes.
        seed: Whole number from 0.
        val_share: Of the sequences; at least one where there are two.
        tell: Is told how far it is.

    Raises:
        DataError: There is nothing to make it from, none of it can be used, or `out` holds other data.
        RunFolderError: `out` cannot be written.
    """
    if seed < 0 or not 0 <= val_share < 1:
        raise DataError(f"seed {seed} and share {val_share} for validation, expected 0 or more and 0 to 1")
    settings, out = settings or ExposureSettings(), Path(out)
    sequences = find_sequences(source)
    header = {
        "made": "deblurring",
        "seed": seed,
        "val_share": val_share,
        "settings": plain(asdict(settings)),
        "sequences": [sequence.name for sequence in sequences],
    }
    done = _resume(out, header)
    splits = _shared_out([sequence.name for sequence in sequences], seed, val_share)
    made: list[MadeSequence] = []
    skipped: list[tuple[str, str]] = []
    for number, sequence in enumerate(sequences):
        name, split = sequence.name, splits[sequence.name]
        if name in done:
            made.append(MadeSequence(name, split, done[name], kept=True))
            continue
        try:
            frames = _make(sequence, out / split / name, settings, seed, _counter(tell, name, number, len(sequences)))
        except DataError as error:
            skipped.append((name, error.message))
            continue
        append_json_line(out / _MANIFEST, {"sequence": name, "split": split, "frames": frames})
        made.append(MadeSequence(name, split, frames, kept=False))
    if not made:
        raise DataError(f"nothing in {source} can be used: {skipped[0][0]}: {skipped[0][1]}", slug="empty-dataset")
    notes = [f"{sequence.name}: {note}" for sequence in sequences for note in sequence.notes]
    if not any(one.split == "val" for one in made):
        notes.append("no validation split: it takes two sequences, and frames of one video are no test of each other")
    return DeblurReport(tuple(made), tuple(skipped), tuple(notes))


def _resume(out: Path, header: dict[str, Any]) -> dict[str, int]:
    manifest = out / _MANIFEST
    make_folder(out)
    records = list(read_json_lines(manifest))
    if not records:
        strangers = [entry.name for entry in out.iterdir()]
        if strangers:
            raise DataError(f"{out} holds {strangers[0]} and no {_MANIFEST}: it is something else", hint="choose a new "
                            "folder")  # fmt: skip
        append_json_line(manifest, header)
        return {}
    different = sorted(key for key in header if records[0].get(key) != header[key])
    if different:
        raise DataError(
            f"{out} was made otherwise: {', '.join(_told(key, records[0].get(key), header[key]) for key in different)}",
            hint="choose a new folder, or repeat what it was made with",
        )
    return {str(record["sequence"]): int(record["frames"]) for record in records[1:] if "sequence" in record}


def _told(key: str, before: Any, now: Any) -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        return ", ".join(_told(one, before.get(one), now[one]) for one in now if before.get(one) != now[one])
    if isinstance(before, list) and len(before) > 3:
        return f"{key} are others"
    return f"{key} was {before}, is now {now}"


def _shared_out(names: Sequence[str], seed: int, share: float) -> dict[str, str]:
    order = sorted(names)
    random.Random(seed).shuffle(order)
    count = max(1, round(share * len(order))) if share > 0 and len(order) > 1 else 0
    return {name: "val" if place < count else "train" for place, name in enumerate(order)}


def _counter(tell: Tell | None, name: str, number: int, total: int) -> Callable[[int], None]:
    def count(frames: int) -> None:
        if tell is not None:
            tell(f"sequence {number + 1} of {total}, {name}: frames", frames, 0)

    return count


def _make(
    sequence: FrameSequence, folder: Path, settings: ExposureSettings, seed: int, count: Callable[[int], None]
) -> int:
    """Write the exposures of a sequence; returns how many."""
    frames = 0
    try:
        for exposure in expose(sequence.open(), settings, seed=(seed, zlib.crc32(sequence.name.encode()))):
            if not frames:
                form = _format_of(exposure)
                for place in ("blur", "sharp", "spike"):
                    make_folder(folder / place)
                write_sidecar(folder, form)
            name = f"{exposure.number:08d}"
            write_png(folder / "blur" / f"{name}.png", exposure.blur)
            write_png(folder / "sharp" / f"{name}.png", exposure.sharp)
            write_spikes(folder / "spike" / f"{name}.dat", exposure.spikes, form)
            frames += 1
            count(frames)
    except SnellenError:
        raise
    except Exception as error:  # OpenCV raises errors of its own on hostile files
        raise DataError(f"{sequence.source}: {error}") from error
    if not frames:
        raise DataError(f"{sequence.source} has fewer than the {settings.window} frames that one exposure spans")
    return frames


def _format_of(exposure: Exposure) -> SpikeFormat:
    """One bit a pixel, where the pixels of a step fill whole bytes."""
    _, height, width = exposure.spikes.shape
    return SpikeFormat(height, width, bits=8 if height * width % 8 else 1)
