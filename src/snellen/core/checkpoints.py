"""Checkpoint files: which ones a log names, and what is in one, read without unpickling anything and without torch."""

from __future__ import annotations

import json
import pickletools
import re
import zipfile
from pathlib import Path

from snellen.core.facts.weights import WeightsFacts
from snellen.core.file_kinds import is_weights
from snellen.core.log import Log
from snellen.core.source import CallSite, SourceFile

__all__ = ["begins_a_pickle", "inspect_weights", "named_weights", "starts_like", "used_as_module"]

_MAX_HEADER = 100 * 2**20
_NAMED = re.compile(
    r"(?<![^\s'\"=:,;<>|\[])(?P<path>(?:[A-Za-z]:)?[^\s'\"<>|:*?=,;()\[\]{}]{0,300}\."
    r"(?:pth\.tar|pth|pt\.tar|pt|ckpt|safetensors|bin|t7|th|tar|pkl|weights))(?![\w.*])"
)
_SPOKEN_OF = re.compile(r"ckpt|check_?point|weights|pretrained|resume", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"(?:self|args?|opts?|cfg|config|conf|params|flags|options|hparams)\.", re.IGNORECASE)
_MOST_NAMED = 20
_PICKLE_CODES = frozenset(opcode.code for opcode in pickletools.opcodes)

_STARTS = (
    (b"version https://git-lfs", "a Git LFS pointer"),
    (b"<!doctype", "a web page"),
    (b"<html", "a web page"),
    (b"<?xml", "an XML error page"),
    (b"\x89PNG", "a PNG image"),
    (b"\x89HDF", "an HDF5 (Keras) file"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
)


def starts_like(start: bytes) -> str | None:
    r"""What a file is that begins so, when it is none that torch writes.

    Example:
        >>> starts_like(b"<!DOCTYPE html><html>"), starts_like(b"PK\x03\x04")
        ('a web page', None)
    """
    lowered = start.lstrip().lower()
    return next((kind for begin, kind in _STARTS if lowered.startswith(begin.lower())), None)


def begins_a_pickle(code: int) -> bool:
    """Whether a byte is an instruction of the pickle protocol.

    Example:
        >>> begins_a_pickle(0x80), begins_a_pickle(ord("<"))
        (True, False)
    """
    return chr(code) in _PICKLE_CODES


def named_weights(log: Log) -> tuple[str, ...]:
    """Paths of weights that a log speaks of, the latest first.

    Example:
        >>> from snellen.core.log import LogLine
        >>> named_weights(Log((LogLine(1, "=> loading checkpoint 'runs/best.pth'"),)))
        ('runs/best.pth',)
    """
    found: dict[str, None] = {}
    for line in reversed(log.lines):
        if "." not in line.text:
            continue
        for path in (match["path"] for match in _NAMED.finditer(line.text)):
            meant = is_weights(path) or _SPOKEN_OF.search(line.text)
            if meant and len(found) < _MOST_NAMED and not _ATTRIBUTE.match(path) and not path.startswith("//"):
                found.setdefault(path)
    return tuple(found)


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


_OF_MODULES = frozenset(
    (
        *("eval", "train", "parameters", "named_parameters", "children", "modules", "named_modules", "forward"),
        *("named_children", "state_dict", "load_state_dict", "zero_grad"),
    )
)
_KEEPS_MODULE = frozenset({"to", "cpu", "cuda", "float", "half", "double", "bfloat16", "eval", "train", "[]"})

_ASKED = re.compile(r"isinstance\(|hasattr\(|\btype\(|ScriptModule")
"""Tests of what it is that was loaded."""


def used_as_module(file: SourceFile, call: CallSite) -> CallSite | None:
    """The first call that treats what a loading call gave as a whole model: `model = torch.load(p)`, `model.eval()`."""
    for other in file.calls:
        origin = other.receiver_origin
        if origin is None or origin.call.span != call.span or not _KEEPS_MODULE.issuperset(origin.through):
            continue
        if any(_ASKED.search(condition) for condition in other.conditions):
            continue
        called = other.receiver in (None, "self") and other.span != call.span and "[]" not in origin.through
        if other.method in _OF_MODULES or (called and other.arguments):
            return other
    return None
