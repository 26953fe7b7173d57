"""Checkpoint files: which ones a log names, and what is in one, read without unpickling anything and without torch."""

from __future__ import annotations

import json
import pickletools
import re
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from snellen.core.facts.weights import WeightsFacts
from snellen.core.file_kinds import is_weights
from snellen.core.log import Log
from snellen.core.source import CallSite, SourceFile

__all__ = [
    "LEGACY_MAGIC",
    "begins_a_pickle",
    "inspect_weights",
    "named_weights",
    "safetensors_header",
    "starts_like",
    "stated_hash",
    "used_as_module",
    "zip_directory_is_small",
]

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
    (b"GGUF", "a GGUF file (llama.cpp)"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x08\x03\x12", "an ONNX file"),
    (b"\x08\x04\x12", "an ONNX file"),
    (b"\x08\x05\x12", "an ONNX file"),
    (b"\x08\x06\x12", "an ONNX file"),
    (b"\x08\x07\x12", "an ONNX file"),
    (b"\x08\x08\x12", "an ONNX file"),
    (b"\x08\x09\x12", "an ONNX file"),
    (b"\x08\x0a\x12", "an ONNX file"),
    (b"%PDF", "a PDF file"),
    (b'{"', "a JSON file"),
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


def inspect_weights(key: str, path: Path) -> WeightsFacts:
    """Facts about one checkpoint file: format, number of tensors, whether it is whole."""
    nearby = _nearby(path)
    if not path.exists():
        return WeightsFacts(key, str(path), False, nearby=nearby)
    if path.is_dir():
        return WeightsFacts(key, str(path), True, problem="a folder, expected a file", nearby=_nearby(path / "x"))
    if not path.is_file():
        return WeightsFacts(key, str(path), True, problem="no regular file (a pipe, a socket or a device)")
    try:
        size = path.stat().st_size
        facts = _by_content(key, path, size) if size else _unusable(key, path, "unknown", "the file is empty")
    except OSError as error:
        facts = _unusable(key, path, "unknown", f"cannot be read: {error.strerror}")
        size = 0
    return replace(facts, bytes=size, nearby=nearby, stated_hash=stated_hash(path.name))


def stated_hash(name: str) -> str:
    """The start of a SHA-256 that a file's name states, as the names of torch hub do; `""` without one.

    Example:
        >>> stated_hash("resnet50-0676ba61.pth"), stated_hash("model-20240131.pth"), stated_hash("vit-base.pth")
        ('0676ba61', '', '')
    """
    found = _HASHED.search(name)
    # Eight digits that read as a date are one.
    return "" if found is None or _DATE.fullmatch(found["hash"]) else found["hash"]


_HASHED = re.compile(r"-(?P<hash>[0-9a-f]{8}|[0-9a-f]{64})\.(?:pth|pt|pth\.tar|safetensors|bin|ckpt)$")
_DATE = re.compile(r"(?:19|20)\d\d[01]\d[0-3]\d|[0-3]\d[01]\d(?:19|20)\d\d")


def _unusable(key: str, path: Path, kind: str, problem: str) -> WeightsFacts:
    return WeightsFacts(key, str(path), True, kind, problem=problem)


def _by_content(key: str, path: Path, size: int) -> WeightsFacts:  # noqa: PLR0911 - one answer per kind of file
    with path.open("rb") as file:
        start = file.read(512)
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip(key, path)
    foreign = starts_like(start)
    if foreign is not None:
        return _foreign(key, path, foreign)
    # The header of safetensors begins with its length, then a JSON object.
    if start[8:9] == b"{" or path.suffix == ".safetensors":
        return _safetensors(key, path)
    if start.startswith(LEGACY_MAGIC):
        return WeightsFacts(key, str(path), True, "legacy torch")
    if start[257:262] == b"ustar":
        return _unusable(key, path, "tar", "a tar archive: unpack it, or read it with torch.load (before torch 0.2)")
    if start.startswith(b"\x80"):
        problem = "a bare pickle, which can run code when it is loaded; expected .safetensors or a torch zip file"
        return _unusable(key, path, "pickle", problem)
    if not any(start):
        return _unusable(key, path, "unknown", f"{size:,} bytes that begin with zeros: space that was never written")
    return _unusable(key, path, "unknown", "neither a safetensors nor a torch file")


LEGACY_MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""How a file of `torch.save` begins that was written before torch 1.6, or since without its zip format."""


def _foreign(key: str, path: Path, kind: str) -> WeightsFacts:
    if "Git LFS" in kind:
        return _unusable(key, path, kind, "a Git LFS pointer: run `git lfs pull`")
    if "page" in kind:
        return _unusable(key, path, kind, f"{kind}, saved where a checkpoint was meant")
    if "archive" in kind:
        return _unusable(key, path, kind, f"{kind}: unpack it and name the file inside")
    return _unusable(key, path, kind, f"{kind}, which torch does not load")


def safetensors_header(path: Path) -> tuple[Mapping[str, Any], int, str]:
    """The entries of a safetensors file, where its data begins, and what is wrong with it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(_MAX_HEADER, size - 8):
            return {}, 0, f"not a safetensors file, or cut off: {size:,} bytes"
        raw = file.read(length)
    try:
        header = json.loads(raw)
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        end = max((int(entry["data_offsets"][1]) for entry in entries.values()), default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, OverflowError):
        return {}, 0, "its header is broken"
    expected = 8 + length + end
    problem = "" if size == expected else f"{size:,} bytes, its header promises {expected:,}: cut off or damaged"
    return entries, 8 + length, problem


def _safetensors(key: str, path: Path) -> WeightsFacts:
    entries, start, problem = safetensors_header(path)
    return WeightsFacts(key, str(path), True, "safetensors", len(entries) if start else None, problem)


def zip_directory_is_small(path: Path) -> bool:
    """Whether the table of contents of a zip file can be read without filling the memory."""
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - 66_000))
        tail = file.read()
    found = tail.rfind(b"PK\x06\x06")
    if found >= 0 and len(tail) >= found + 48:
        return int.from_bytes(tail[found + 40 : found + 48], "little") <= _MAX_DIRECTORY
    found = tail.rfind(b"PK\x05\x06")
    return found < 0 or int.from_bytes(tail[found + 12 : found + 16], "little") <= _MAX_DIRECTORY


_MAX_DIRECTORY = 32 * 2**20
_MAX_CHECKED = 2 * 2**30


def _zip(key: str, path: Path) -> WeightsFacts:
    try:
        if not zip_directory_is_small(path):
            return _unusable(key, path, "zip", "a zip file with more entries than any checkpoint has")
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            tensors = sum("/data/" in name and not name.endswith("/") for name in names)
            kind, problem = _kind_of_zip(names)
            damaged = _first_damaged(archive)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError, OverflowError) as error:
        return _unusable(key, path, "torch zip", f"cut off or damaged: {error}")
    problem = f"damaged: the checksum of {damaged} is wrong" if damaged else problem
    return WeightsFacts(key, str(path), True, kind, tensors if kind == "torch zip" else None, problem)


def _kind_of_zip(names: list[str]) -> tuple[str, str]:
    """Format and problem of a zip file with these entries."""
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
        how = "torch.save(torch.jit.load(file).state_dict(), ...) makes a checkpoint of it"
        return "TorchScript", f"a TorchScript archive, which torch.load(weights_only=True) refuses; {how}"
    if any(name.count("/") <= 1 and name.endswith("data.pkl") for name in names):
        return "torch zip", ""
    if names and all(name.endswith(".npy") for name in names):
        return "npz", "NumPy arrays (.npz), which torch does not load; timm reads those of its ViT by itself"
    if "model.weights.h5" in names or "config.json" in names:
        return "Keras archive", "a Keras archive, which torch does not load"
    inside = next((name for name in names if is_weights(name)), None)
    return "zip", f"a zip file that holds {inside}: unpack it" if inside else "a zip file without a state dict"


def _first_damaged(archive: zipfile.ZipFile) -> str | None:
    # torch stores without compression; what is compressed may be a bomb and is not unpacked.
    left = _MAX_CHECKED
    for entry in archive.infolist():
        if entry.compress_type != zipfile.ZIP_STORED or left <= 0:
            continue
        try:
            with archive.open(entry) as file:
                while left > 0 and (chunk := file.read(2**20)):
                    left -= len(chunk)
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
