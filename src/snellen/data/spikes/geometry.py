"""The sensor behind a stream that does not say: what its length, its bytes and the frames beside it allow."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from snellen.data.spikes.streams import BitOrder, SpikeFormat
from snellen.data.writing import write_json
from snellen.errors import DataError

__all__ = ["SENSORS", "SIDECAR", "SpikeHints", "find_format", "nearest", "read_sidecar", "write_sidecar"]

SENSORS: Final = ((250, 400), (250, 416), (1000, 1000))
"""Height and width of the spike cameras that public streams come from."""
SIDECAR: Final = "spike_format.json"
"""States how the streams in its folder, and in all folders below, are stored."""

_WORDS: Final = {"flip": "flip {}", "bit_order": "bit order {}", "columns": "{} columns"}
_SAMPLE = 1 << 20
_FEWEST = 2
_UPWARDS = 4


@dataclass(frozen=True, slots=True)
class SpikeHints:
    """What is known of streams; `None` is to be found out.

    Args:
        size: Height and width of the sensor.
        bits: Of one pixel.
        flip: Rows are stored from the bottom up.
        bit_order: Of packed pixels.
        columns: Columns that are kept from the left.
        frames: Height and width of the frames beside the streams: often, but not always, those of the sensor.
    """

    size: tuple[int, int] | None = None
    bits: Literal[1, 8] | None = None
    flip: bool = True
    bit_order: BitOrder = "little"
    columns: int | None = None
    frames: tuple[int, int] | None = None


def find_format(path: str | Path, hints: SpikeHints | None = None) -> SpikeFormat:
    """How a stream is stored: as a file beside it says, else as stated, else the one geometry that fits.

    Args:
        path: The stream.
        hints: What is known.

    Raises:
        DataError: Nothing fits, and what would is named; or several geometries do, and all are named; or the file
            beside it says another one than was stated.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.dat"
        >>> _ = path.write_bytes(bytes(range(256)) * 50 + bytes(12200))
        >>> str(find_format(path))
        '250 x 400, 1 bit a pixel'
    """
    path, hints = Path(path), hints or SpikeHints()
    try:
        length = path.stat().st_size
        with path.open("rb") as file:
            sample = np.frombuffer(file.read(_SAMPLE), np.uint8)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", slug="missing-file") from error
    if not length:
        raise DataError(f"{path} is empty, expected a spike stream")
    beside = read_sidecar(path.parent, hints, path)
    if beside is not None:
        return _fitting(path, length, beside)
    bits = hints.bits or _bits_of(sample)
    if hints.size is not None:
        if bits is None:
            bits = _only_bits(path, length, hints)
        return _fitting(path, length, _format(hints.size, bits, hints))
    return _guessed(path, length, bits, hints)


def nearest(length: int, form: SpikeFormat) -> str:
    """For people: the geometries nearest to a format that a file of this length holds in whole steps.

    Example:
        >>> nearest(12500 * 7, SpikeFormat(250, 416))
        '7 steps of 250 x 400, 1 bit a pixel'
    """
    return "; or ".join(
        f"{length // other.step_bytes} steps of {other}" for other in list(dict.fromkeys(_others(length, form)))[:2]
    )


def read_sidecar(folder: Path, hints: SpikeHints | None = None, stream: Path | None = None) -> SpikeFormat | None:
    """The format that a file in a folder, or in one above it, states for its streams.

    Args:
        folder: Of the streams.
        hints: What else is known; it fills in what the file leaves open.
        stream: For messages.

    Raises:
        DataError: There is one, and it cannot be understood, or states another format than the hints.
    """
    for place in [folder, *folder.parents][:_UPWARDS]:
        path = place / SIDECAR
        if path.is_file():
            try:
                stated = json.loads(path.read_text(encoding="utf-8"))
                known = {name: stated[name] for name in stated if name in SpikeFormat.__slots__}
                form = SpikeFormat(**known)
            except (OSError, ValueError, TypeError, AttributeError) as error:
                raise DataError(
                    f"{path} states no spike format: {error}", hint='expected {"height": 250, "width": 400, ...}'
                ) from error
            asked = _asked(hints or SpikeHints())
            _agree(stream or folder, form, {name: one for name, one in asked.items() if known.get(name) is not None})
            return replace(form, **asked)
    return None


def write_sidecar(folder: Path, form: SpikeFormat) -> None:
    """State the format of the streams below a folder."""
    write_json(folder / SIDECAR, asdict(form))


def _asked(hints: SpikeHints) -> dict[str, Any]:
    """What was stated, by the names of a format; what is as it is without a statement was not."""
    height, width = hints.size or (None, None)
    given = {
        "height": height,
        "width": width,
        "bits": hints.bits,
        "flip": None if hints.flip else False,
        "bit_order": None if hints.bit_order == "little" else hints.bit_order,
        "columns": hints.columns,
    }
    return {name: one for name, one in given.items() if one is not None}


def _agree(path: Path, beside: SpikeFormat, asked: Mapping[str, Any]) -> None:
    """Refuse a statement that is another than that of the file beside a stream: grids of either would look alike."""
    contrary = {name: one for name, one in asked.items() if getattr(beside, name) != one}
    if not contrary:
        return
    if contrary.keys() & {"height", "width", "bits"}:
        height, width = asked.get("height", beside.height), asked.get("width", beside.width)
        bits: Literal[1, 8] = 8 if height * width % 8 else asked.get("bits", beside.bits)
        has, wants = str(beside), str(SpikeFormat(height, width, bits=bits))
    else:
        has = "; ".join(_WORDS[name].format(getattr(beside, name)) for name in contrary)
        wants = "; ".join(_WORDS[name].format(one) for name, one in contrary.items())
    raise DataError(
        f"{path} is {has} by the {SIDECAR} beside it, asked for {wants}",
        hint=f"leave the sensor out, or mend {SIDECAR}",
    )


def _fitting(path: Path, length: int, form: SpikeFormat) -> SpikeFormat:
    """The format, unless the length says that another one is meant; a torn last step is no reason."""
    steps, left = divmod(length, form.step_bytes)
    other = nearest(length, form) if left else ""
    if not steps or (left and other):
        what = f"{length / form.step_bytes:.2f} steps of {form} ({form.step_bytes} bytes each)"
        known = f": it would hold {other}" if other else ""
        raise DataError(
            f"{path} has {length} bytes, that is {what}{known}",
            hint="state the sensor's height and width, and 1 or 8 bits a pixel; or write the stream again",
        )
    return form


def _guessed(path: Path, length: int, bits: Literal[1, 8] | None, hints: SpikeHints) -> SpikeFormat:
    if bits is None:
        raise DataError(
            f"{path} holds no spike in its first {min(length, _SAMPLE)} bytes, so that nothing tells how it is stored",
            hint="state the sensor's height and width, and 1 or 8 bits a pixel",
        )
    sizes = ([hints.frames] if hints.frames else []) + [size for size in SENSORS if size != hints.frames]
    fits = [form for form in _formats(sizes, bits, hints) if length % form.step_bytes == 0]
    if hints.frames and fits and (fits[0].height, fits[0].width) == hints.frames:
        # A sensor of the size of its frames needs no further proof.
        return fits[0]
    several = [form for form in fits if length >= _FEWEST * form.step_bytes] or fits
    if len(several) == 1:
        return several[0]
    if several:
        found = "; ".join(f"{length // form.step_bytes} steps of {form}" for form in several)
        raise DataError(f"{path} could be {found}", hint="state the sensor's height and width")
    tried = ", ".join(f"{height} x {width}" for height, width in sizes)
    near = nearest(length, _format(sizes[0], bits, hints)) or _nearly(length, list(_formats(sizes, bits, hints)))
    known = f"; nearest: {near}" if near else ""
    raise DataError(
        f"{path} has {length} bytes, no whole number of steps of {tried} with {bits} bit{'s' * (bits > 1)} a pixel"
        f"{known}",
        hint="state the sensor's height and width",
    )


def _nearly(length: int, forms: Sequence[SpikeFormat]) -> str:
    """The known geometry that a length misses by the fewest bytes, in words; nothing below one step of any."""
    fits = [(length % form.step_bytes, length // form.step_bytes, form) for form in forms]
    missed = [(min(left, form.step_bytes - left), left, steps, form) for left, steps, form in fits if steps]
    if not missed:
        return ""
    _, left, steps, form = min(missed, key=lambda one: one[0])
    if left <= form.step_bytes - left:
        return f"{steps} steps of {form} and {left} bytes more"
    return f"{steps + 1} steps of {form} less {form.step_bytes - left} bytes"


def _bits_of(sample: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> Literal[1, 8] | None:
    """Bytes above 1 are packed; of packed pixels, bytes of 0 and 1 alone would be spikes in each eighth column only."""
    if not sample.any():
        return None
    return 1 if int(sample.max()) > 1 else 8


def _only_bits(path: Path, length: int, hints: SpikeHints) -> Literal[1, 8]:
    """The width of a pixel in a stream without spikes, by its length."""
    forms = list(_formats([hints.size] if hints.size else [], None, hints))
    fits = [form for form in forms if length % form.step_bytes == 0]
    if len(fits) != 1:
        raise DataError(
            f"{path} holds no spike, and its {length} bytes could be "
            + "; ".join(f"{length / form.step_bytes:g} steps of {form}" for form in forms),
            hint="state 1 or 8 bits a pixel",
        )
    return fits[0].bits


def _formats(sizes: Sequence[tuple[int, int]], bits: Literal[1, 8] | None, hints: SpikeHints) -> Iterator[SpikeFormat]:
    for size in sizes:
        for width in (1, 8) if bits is None else (bits,):
            if width == 8 or size[0] * size[1] % 8 == 0:
                yield _format(size, 1 if width == 1 else 8, hints)


def _format(size: tuple[int, int], bits: Literal[1, 8], hints: SpikeHints) -> SpikeFormat:
    columns = hints.columns if hints.columns is None or hints.columns <= size[1] else None
    return SpikeFormat(*size, bits=bits, flip=hints.flip, bit_order=hints.bit_order, columns=columns)


def _others(length: int, form: SpikeFormat) -> Iterator[SpikeFormat]:
    bits = form.bits
    for height, width in SENSORS:
        yield from _whole(length, replace(form, height=height, width=width, columns=None))
    for away in range(1, max(2, form.height // 8)):
        for height in (form.height - away, form.height + away):
            if height > 0 and (bits == 8 or height * form.width % 8 == 0):
                yield from _whole(length, replace(form, height=height))


def _whole(length: int, form: SpikeFormat) -> Iterator[SpikeFormat]:
    if length >= _FEWEST * form.step_bytes and length % form.step_bytes == 0:
        yield form
