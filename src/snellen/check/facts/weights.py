"""Checkpoint files, looked into without unpickling anything and without torch."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

from snellen.core.facts import PathFacts, WeightsFacts
from snellen.core.file_kinds import is_weights
from snellen.core.plan import Plan

__all__ = ["inspect_weights", "provide_weights"]

_MAX_HEADER = 100 * 2**20
_KEYS = ("weights", "checkpoint")


def provide_weights(plan: Plan) -> tuple[WeightsFacts, ...]:
    """The fact `weights`: every checkpoint that the run file names."""
    paths: Sequence[PathFacts] = plan.fact("paths")
    named = [path for path in paths if path.key.rpartition(".")[2] in _KEYS or is_weights(path.given)]
    return tuple(inspect_weights(path.key, Path(path.path)) for path in named)


def inspect_weights(key: str, path: Path) -> WeightsFacts:  # noqa: PLR0911 - one answer per kind of file
    """Facts about one checkpoint file: format, number of tensors, whether it is whole."""
    nearby = _nearby(path)
    if not path.exists():
        return WeightsFacts(key, str(path), False, nearby=nearby)
    if path.is_dir():
        return WeightsFacts(key, str(path), True, problem="a folder, expected a file", nearby=_nearby(path / "x"))
    try:
        with path.open("rb") as file:
            start = file.read(16)
        if not start:
            return WeightsFacts(key, str(path), True, problem="the file is empty", nearby=nearby)
        if path.suffix == ".safetensors":
            return _safetensors(key, path)
        if start.startswith(b"PK"):
            return _torch_zip(key, path)
    except OSError as error:
        return WeightsFacts(key, str(path), True, problem=f"cannot be read: {error.strerror}", nearby=nearby)
    return _other(key, path, start)


def _other(key: str, path: Path, start: bytes) -> WeightsFacts:
    if start.startswith(b"\x80"):
        problem = "a bare pickle, which can run code when it is loaded; expected .safetensors or a torch zip file"
        return WeightsFacts(key, str(path), True, "pickle", problem=problem)
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return WeightsFacts(key, str(path), True, problem="a web page, saved where a checkpoint was meant")
    if start.startswith(b"version https://"):
        return WeightsFacts(key, str(path), True, problem="a Git LFS pointer: run `git lfs pull`")
    return WeightsFacts(key, str(path), True, problem="neither a safetensors nor a torch file")


def _safetensors(key: str, path: Path) -> WeightsFacts:
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(_MAX_HEADER, size - 8):
            problem = f"not a safetensors file, or cut off: {size:,} bytes"
            return WeightsFacts(key, str(path), True, "safetensors", problem=problem)
        raw = file.read(length)
    try:
        header = json.loads(raw)
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        end = max((int(entry["data_offsets"][1]) for entry in entries.values()), default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return WeightsFacts(key, str(path), True, "safetensors", problem="its header is broken")
    expected = 8 + length + end
    problem = "" if size == expected else f"{size:,} bytes, its header promises {expected:,}: cut off or damaged"
    return WeightsFacts(key, str(path), True, "safetensors", len(entries), problem)


def _torch_zip(key: str, path: Path) -> WeightsFacts:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            tensors = sum("/data/" in name and not name.endswith("/") for name in names)
            holds_state = any(name.endswith("data.pkl") for name in names)
            damaged = _first_damaged(archive)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        return WeightsFacts(key, str(path), True, "torch zip", problem=f"cut off or damaged: {error}")
    problem = "" if holds_state else "a zip file without a state dict"
    problem = f"damaged: the checksum of {damaged} is wrong" if damaged else problem
    return WeightsFacts(key, str(path), True, "torch zip", tensors, problem)


def _first_damaged(archive: zipfile.ZipFile) -> str | None:
    # torch stores without compression; what is compressed may be a bomb and is not unpacked.
    for entry in archive.infolist():
        if entry.compress_type != zipfile.ZIP_STORED:
            continue
        try:
            with archive.open(entry) as file:
                while file.read(2**20):
                    pass
        except (zipfile.BadZipFile, EOFError):
            return entry.filename
    return None


def _nearby(path: Path) -> tuple[str, ...]:
    try:
        return tuple(sorted(entry.name for entry in path.parent.iterdir() if is_weights(entry.name))[:8])
    except OSError:
        return ()
