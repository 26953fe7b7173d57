"""Features of images on disk: Parquet parts that any number of processes may add to, of one backbone each.

A folder of features holds `part-*.parquet`. A part is written beside and renamed, so that it is whole or absent; its
rows are path, content hash and vector, its metadata say which backbone and preprocessing made them and which images
could not be read. Writers never touch each other's parts, so nothing has to be locked.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as tables

from snellen.core.files import replacing
from snellen.data.name_set import NameSet
from snellen.data.writing import make_folder
from snellen.errors import DataError, RunFolderError

__all__ = [
    "FeaturePart",
    "Features",
    "Unread",
    "distinct_parts",
    "part_files",
    "read_features",
    "read_part",
    "read_record",
    "refuse_other",
    "sweep",
    "write_part",
]

_META: Final = b"snellen"


@dataclass(frozen=True, slots=True)
class Unread:
    """An image without features.

    Args:
        name: Which.
        reason: Why.
        slug: The rule that knows more.
    """

    name: str
    reason: str
    slug: str | None = None

    @property
    def sentence(self) -> str:
        """The reason; with the name, where the reason does not say it."""
        return self.reason if self.name in self.reason else f"{self.name}: {self.reason}"


@dataclass(frozen=True, slots=True)
class FeaturePart:
    """Rows that were computed together.

    Args:
        names: Of the images, in the order they were asked for.
        digests: Hash of each file's content.
        vectors: Float32, shape `(rows, width)`.
        backbone: Its name.
        fingerprint: Of backbone, weights and preprocessing.
        unread: Images that were tried and have no row.
    """

    names: tuple[str, ...]
    digests: tuple[str, ...]
    vectors: npt.NDArray[np.float32]
    backbone: str
    fingerprint: str
    unread: tuple[Unread, ...] = ()


@dataclass(frozen=True, slots=True)
class Features:
    """All rows of a folder.

    Args:
        names: Of the images.
        digests: Hash of each file's content.
        vectors: Float32, shape `(rows, width)`.
        backbone: Its name.
        fingerprint: Of backbone, weights and preprocessing.
        unread: Images without features.
    """

    names: tuple[str, ...]
    digests: tuple[str, ...]
    vectors: npt.NDArray[np.float32]
    backbone: str
    fingerprint: str
    unread: tuple[Unread, ...] = field(default=())


def write_part(folder: Path, part: FeaturePart, *, number: int | None = None) -> Path:
    """Write a part, whole or not at all.

    Args:
        folder: Is made when it is not there.
        part: The rows.
        number: Place in the order of parts; without one the part gets a name that no other process can have.

    Raises:
        RunFolderError: The disk is full or the folder cannot be written.
        DataError: A vector is not finite.
    """
    bad = np.flatnonzero(~np.isfinite(part.vectors).all(axis=1))
    if len(bad):
        more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        raise DataError(f"the features of {part.names[bad[0]]}{more} are not finite", slug="nan-loss")
    make_folder(folder)
    width = part.vectors.shape[1]
    flat = pa.array(np.ascontiguousarray(part.vectors).reshape(-1), type=pa.float32())
    meta = {
        "backbone": part.backbone,
        "fingerprint": part.fingerprint,
        "unread": [[one.name, one.reason, one.slug] for one in part.unread],
    }
    table = pa.table(
        {
            "path": pa.array(list(part.names), type=pa.string()),
            "digest": pa.array(list(part.digests), type=pa.string()),
            "embedding": pa.FixedSizeListArray.from_arrays(flat, width),
        }
    ).replace_schema_metadata({_META: json.dumps(meta, sort_keys=True).encode()})
    name = f"part-{number:06d}.parquet" if number is not None else f"part-{uuid.uuid4().hex}.parquet"
    target = folder / name
    with replacing(target) as file:
        tables.write_table(table, file, compression="zstd", use_dictionary=False)
    return target


def part_files(folder: Path) -> list[Path]:
    """The parts of a folder in their order."""
    return sorted(folder.glob("part-*.parquet")) if folder.is_dir() else []


def read_part(path: Path) -> FeaturePart:
    """Read one part.

    Raises:
        DataError: It is damaged, or no part of features.
    """
    with _reading(path):
        table = tables.read_table(path)
        record = _record(table)
        kind = table.schema.field("embedding").type
        if not pa.types.is_fixed_size_list(kind):
            raise ValueError(f"its column embedding is of {kind}, expected lists of one fixed size")
        column = table.column("embedding").combine_chunks()
        vectors = np.asarray(column.flatten(), dtype=np.float32).reshape(-1, column.type.list_size)
        return replace(record, digests=tuple(table.column("digest").to_pylist()), vectors=vectors)


def read_record(path: Path) -> FeaturePart:
    """Read one part without digests and vectors: its names, and what could not be read.

    Raises:
        DataError: It is damaged, or no part of features.
    """
    with _reading(path):
        return _record(tables.read_table(path, columns=["path"]))


def _record(table: Any) -> FeaturePart:
    meta = _metadata(table.schema)
    if table.column("path").null_count:
        raise ValueError(f"{table.column('path').null_count} of {len(table)} rows name no image")
    return FeaturePart(
        tuple(table.column("path").to_pylist()),
        (),
        np.zeros((0, 0), np.float32),
        str(meta["backbone"]),
        str(meta["fingerprint"]),
        tuple(Unread(str(name), str(reason), slug) for name, reason, slug in meta["unread"]),
    )


def _metadata(schema: Any) -> dict[str, Any]:
    meta: Any = json.loads((schema.metadata or {}).get(_META, b"null"))
    if not isinstance(meta, dict):
        raise ValueError("its metadata do not say which backbone made it")
    return meta


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException, KeyError, ValueError, AttributeError, TypeError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        if isinstance(error, KeyError):
            reason = f"it lacks {reason}"
        raise DataError(
            f"{path} is no part of features: {reason}",
            hint="delete it, and type the command that wrote it again: it computes what is missing",
        ) from error


def sweep(folder: Path) -> None:
    """Remove what killed processes left half written; only for the one process that works in a folder."""
    for path in folder.glob(".part-*.tmp"):
        with contextlib.suppress(OSError):
            path.unlink()


def read_features(folder: str | Path, *, fingerprint: str | None = None) -> Features:
    """Read all parts of a folder.

    Args:
        folder: As `write_part` wrote it.
        fingerprint: Refuse features of any other.

    Raises:
        DataError: There are none; they are of several backbones, or of another one than asked for; a part is damaged.
    """
    folder = Path(folder)
    parts = [read_part(path) for path in part_files(folder)]
    if not parts:
        raise DataError(f"{folder} holds no features", hint="snellen predict embed.yaml IMAGES -o FOLDER makes them")
    kinds = {part.fingerprint: part.backbone for part in parts}
    if len(kinds) > 1:
        raise DataError(
            f"{folder} mixes features of {', '.join(f'{name} ({mark})' for mark, name in kinds.items())}",
            hint="vectors of different backbones, weights or preprocessing cannot be compared: one folder for each",
        )
    found = parts[0].fingerprint
    if fingerprint is not None and found != fingerprint:
        raise DataError(
            f"{folder} holds features of {parts[0].backbone} ({found}), expected {fingerprint}",
            hint="choose another folder, or compute them anew with the backbone that is meant",
        )
    widths = sorted({part.vectors.shape[1] for part in parts})
    if len(widths) > 1:
        raise DataError(
            f"{folder} holds vectors of {' and '.join(map(str, widths))} numbers, expected one width",
            hint="a part was changed by hand: delete the folder, and compute it anew",
        )
    read = NameSet()
    parts = [_without_repeated(part, read) for part in parts]
    return Features(
        tuple(name for part in parts for name in part.names),
        tuple(digest for part in parts for digest in part.digests),
        np.concatenate([part.vectors for part in parts]),
        parts[0].backbone,
        found,
        tuple(unread for part in parts for unread in part.unread if unread.name not in read),
    )


def distinct_parts(folder: Path) -> Iterator[FeaturePart]:
    """The parts of a folder one after the other, for what does not fit in memory; each name is there once.

    Parts without rows are passed over.

    Raises:
        DataError: A part is damaged.
    """
    seen = NameSet()
    for path in part_files(folder):
        part = _without_repeated(read_part(path), seen)
        if part.names:
            yield part


def _without_repeated(part: FeaturePart, seen: NameSet) -> FeaturePart:
    """The rows of names that were not seen before: two processes may have computed the same image."""
    rows = [row for row, name in enumerate(part.names) if seen.add(name)]
    if len(rows) == len(part.names):
        return part
    return replace(
        part,
        names=tuple(part.names[row] for row in rows),
        digests=tuple(part.digests[row] for row in rows),
        vectors=part.vectors[rows],
    )


def refuse_other(folder: Path, fingerprint: str, backbone: str) -> None:
    """Refuse to add features to a folder that holds those of another backbone.

    Raises:
        RunFolderError: It does.
    """
    for path in part_files(folder):
        with _reading(path):
            meta = _metadata(tables.read_schema(path))
            name, found = str(meta["backbone"]), str(meta["fingerprint"])
        if found != fingerprint:
            raise RunFolderError(
                f"{folder} holds features of {name} ({found}), expected {backbone} ({fingerprint})"
                + (": weights, prompts or settings are others" if name == backbone else ""),
                hint="choose another output folder, or give again what it was made with",
            )
