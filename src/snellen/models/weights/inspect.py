"""Everything about a checkpoint file that can be known without running anything in it, in bounded time and memory."""

from __future__ import annotations

import ast
import hashlib
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from snellen.core.checkpoints import inspect_weights, safetensors_header, zip_directory_is_small
from snellen.core.facts.weights import TensorEntry, WeightsFacts
from snellen.models.weights.contents import Contents, Stored, contents_of, shared_prefix
from snellen.models.weights.pickles import ReadPickle, read_pickle
from snellen.models.weights.values import BYTES_OF, Reader, unusual_values

__all__ = ["MAX_HASHED", "inspect_checkpoint", "sha256_of"]

MAX_HASHED: Final = 2 * 2**30
"""Larger files are hashed only when that is asked for: this much takes two to eight seconds."""
_MAX_PICKLE = 64 * 2**20
_MAX_ENTRIES = 200_000
_SAFETENSORS_DTYPES: Final = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "U16": "uint16",
    "U32": "uint32",
    "U64": "uint64",
}


def inspect_checkpoint(path: Path, *, key: str = "", hashed: bool | None = None, values: bool = True) -> WeightsFacts:
    """Look into a checkpoint; nothing in it is run, and no more than a bounded part of it is held in memory.

    Args:
        path: The file.
        key: Key path that names it.
        hashed: Whether its SHA-256 is computed; without an answer, when the file is whole and not too large.
        values: Whether some numbers of each tensor are read.
    """
    facts = inspect_weights(key, path)
    if not facts.exists or not path.is_file():
        return facts
    try:
        if facts.format == "safetensors":
            facts = _safetensors(facts, path, values=values)
        elif facts.format in ("torch zip", "TorchScript"):
            facts = _zip(facts, path, values=values)
        elif facts.format in ("legacy torch", "pickle"):
            facts = _bare(facts, path)
        elif facts.format == "npz":
            facts = _npz(facts, path)
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError, EOFError) as error:
        facts = replace(facts, problem=facts.problem or f"cannot be read: {error}")
    wanted = (not facts.problem and facts.bytes <= MAX_HASHED) if hashed is None else hashed
    return replace(facts, hash=sha256_of(path)) if wanted else facts


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, read piece by piece; `""` when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _safetensors(facts: WeightsFacts, path: Path, *, values: bool) -> WeightsFacts:
    header, start, _problem = safetensors_header(path)
    entries: list[TensorEntry] = []
    places: dict[str, tuple[int, int]] = {}
    for name, entry in list(header.items())[:_MAX_ENTRIES]:
        try:
            shape = tuple(int(side) for side in entry["shape"])
            first, last = (int(place) for place in entry["data_offsets"])
            dtype = _SAFETENSORS_DTYPES.get(entry["dtype"], str(entry["dtype"])[:20])
        except (KeyError, TypeError, ValueError):
            return replace(facts, problem=facts.problem or f"the entry of {name[:80]!r} in its header is broken")
        found = TensorEntry(name[:300], shape, dtype)
        needed = found.numel * BYTES_OF.get(dtype, 0)
        if min((0, *shape)) < 0 or first < 0 or (needed and last - first != needed):
            return replace(facts, problem=facts.problem or f"the sizes of {name[:80]!r} in its header do not agree")
        entries.append(found)
        places[found.name] = (start + first, start + last)
    facts = _with_state(facts, entries)
    if not values or facts.problem:
        return facts
    with path.open("rb") as file:

        def reader(name: str) -> Reader:
            begin, end = places[name]

            def read(position: int, length: int) -> bytes:
                file.seek(begin + position)
                return file.read(min(length, end - begin - position))

            return read

        unusual, sampled = unusual_values((entry, reader(entry.name)) for entry in entries)
    return replace(facts, unusual=unusual, sampled=sampled)


def _zip(facts: WeightsFacts, path: Path, *, values: bool) -> WeightsFacts:
    if not zip_directory_is_small(path):
        return facts
    with zipfile.ZipFile(path) as archive:
        name = next((one for one in archive.namelist() if one.endswith("data.pkl") and one.count("/") <= 1), None)
        if name is None:
            return facts
        with archive.open(name) as file:
            data = file.read(_MAX_PICKLE + 1)
        if len(data) > _MAX_PICKLE:
            return replace(facts, problem=facts.problem or f"its {name} is larger than {_MAX_PICKLE >> 20} MiB")
        read = read_pickle(data)
        contents = contents_of(read.value)
        facts = _with_pickle(facts, read, contents)
        missing = _missing_storages(archive, name, contents)
        if missing and not facts.problem:
            facts = replace(facts, problem=missing)
        if not values or facts.format != "torch zip" or facts.problem:
            return facts
        unusual, sampled = unusual_values(_zip_readers(archive, name, contents))
    return replace(facts, unusual=unusual, sampled=sampled)


def _missing_storages(archive: zipfile.ZipFile, pickle_name: str, contents: Contents) -> str:
    """Whether the numbers of every tensor are in the archive."""
    root = pickle_name.removesuffix("data.pkl")
    sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
    for tensor in contents.tensors:
        size = sizes.get(f"{root}data/{tensor.storage}")
        if tensor.storage and size is None:
            return f"damaged: the numbers of {tensor.entry.name} are not in it"
    return ""


def _zip_readers(archive: zipfile.ZipFile, name: str, contents: Contents) -> Iterator[tuple[TensorEntry, Reader]]:
    root = name.removesuffix("data.pkl")
    stored = {one.filename for one in archive.infolist() if one.compress_type == zipfile.ZIP_STORED}
    for tensor in contents.tensors:
        place = f"{root}data/{tensor.storage}"
        if tensor.storage and place in stored:
            yield tensor.entry, _zip_reader(archive, place, tensor)


def _zip_reader(archive: zipfile.ZipFile, place: str, tensor: Stored) -> Reader:
    begin = tensor.offset * BYTES_OF.get(tensor.entry.dtype, 1)

    def read(position: int, length: int) -> bytes:
        try:
            with archive.open(place) as file:
                file.seek(begin + position)
                return file.read(length)
        except (OSError, ValueError, zipfile.BadZipFile, EOFError):
            # A checksum over a part does not add up; whether the whole does is asked elsewhere.
            return b""

    return read


def _bare(facts: WeightsFacts, path: Path) -> WeightsFacts:
    """A pickle by itself, or torch's old format: five pickles one after the other, then the numbers."""
    with path.open("rb") as file:
        data = file.read(_MAX_PICKLE)
    read = read_pickle(data)
    if facts.format == "pickle":
        return _with_pickle(facts, read, contents_of(read.value))
    position = read.end
    for _ in range(2):
        position = read_pickle(data, start=position).end
    read = read_pickle(data, start=position)
    facts = _with_pickle(facts, read, contents_of(read.value))
    keys = read_pickle(data, start=read.end)
    needed = keys.end + sum(_storage_bytes(contents_of(read.value)).values()) + 8 * len(_listed(keys.value))
    cut = read.facts.problem == "it does not end" or (isinstance(keys.value, list) and facts.bytes < needed)
    return replace(facts, problem=facts.problem or "cut off") if cut else facts


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _storage_bytes(contents: Contents) -> dict[str, int]:
    """The least that each storage holds, by the tensors that lie in it."""
    sizes: dict[str, int] = {}
    for tensor in contents.tensors:
        end = (tensor.offset + tensor.entry.numel) * BYTES_OF.get(tensor.entry.dtype, 0)
        sizes[tensor.storage] = max(sizes.get(tensor.storage, 0), end)
    return sizes


def _npz(facts: WeightsFacts, path: Path) -> WeightsFacts:
    entries = []
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist()[:20_000]:
            with archive.open(name) as file:
                start = file.read(10_000)
            described = start[10:].partition(b"}")[0] + b"}"
            try:
                header = ast.literal_eval(described.decode("latin-1").strip())
                shape = tuple(int(side) for side in header["shape"])
                entries.append(TensorEntry(name.removesuffix(".npy"), shape, _numpy_dtype(str(header["descr"]))))
            except (ValueError, SyntaxError, KeyError, TypeError, RecursionError, MemoryError):
                continue
    return _with_state(facts, entries)


def _numpy_dtype(text: str) -> str:
    kinds = {"f": "float", "i": "int", "u": "uint", "b": "bool", "O": "object"}
    kind, size = kinds.get(text[1:2], text), text[2:]
    return f"{kind}{int(size) * 8}" if size.isdigit() and kind not in ("bool", "object") else kind


def _with_pickle(facts: WeightsFacts, read: ReadPickle, contents: Contents) -> WeightsFacts:
    described = read.facts
    if facts.format == "TorchScript":
        # Its types are TorchScript's own: they are looked up in the archive and not imported.
        described = replace(described, foreign=tuple(n for n in described.foreign if not n.startswith("__torch__.")))
    facts = replace(facts, pickle=described)
    entries = [stored.entry for stored in contents.tensors]
    if not entries:
        broken = described.problem and not described.problem.startswith("only its first")
        return replace(
            facts, problem=facts.problem or (f"its pickle cannot be read: {described.problem}" if broken else "")
        )
    others = contents.others
    if contents.whole_model and facts.format != "TorchScript":
        others = (*others, f"a whole model ({contents.whole_model})")
    return replace(_with_state(facts, entries), wrapper=contents.wrapper, others=others)


def _with_state(facts: WeightsFacts, entries: list[TensorEntry]) -> WeightsFacts:
    prefix = shared_prefix([entry.name for entry in entries])
    return replace(facts, state=tuple(entries), tensors=len(entries), prefix=prefix)
