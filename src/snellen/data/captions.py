"""Answers about images on disk: Parquet parts, written whole or not at all, as features are.

A row is an image: its path, content hash, width and height; for each prompt a text, the regions of it in pixels and
whether it ended itself; and a vector, where one was asked for. The metadata of a part are those of features: which
model and settings made it, and which images could not be read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as tables

from snellen.core.files import replacing
from snellen.data.features import Unread, part_files
from snellen.data.writing import make_folder
from snellen.errors import DataError

__all__ = ["Caption", "CaptionPart", "read_captions", "write_caption_part"]

_REGION: Final = pa.struct([("label", pa.string()), ("points", pa.list_(pa.float64()))])
_ANSWER: Final = pa.struct([("text", pa.string()), ("regions", pa.list_(_REGION)), ("complete", pa.bool_())])


@dataclass(frozen=True, slots=True)
class Caption:
    """What was answered about one image.

    Args:
        name: Of the image.
        digest: Hash of the file's content.
        size: `(width, height)`, upright, in pixels: what regions are measured in.
        answers: By prompt: `text`, `regions` (each `label` and `points`, x and y in turn), `complete`.
        vector: Of the image, where one was asked for.
    """

    name: str
    digest: str
    size: tuple[int, int]
    answers: Mapping[str, Mapping[str, Any]]
    vector: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class CaptionPart:
    """Rows that were computed together.

    Args:
        rows: The images, in the order they were asked for.
        prompts: Names of the prompts.
        model: Its name.
        fingerprint: Of model, prompts and settings.
        unread: Images that were tried and have no row.
    """

    rows: tuple[Caption, ...]
    prompts: tuple[str, ...]
    model: str
    fingerprint: str
    unread: tuple[Unread, ...] = ()


def write_caption_part(folder: Path, part: CaptionPart, *, number: int) -> Path:
    """Write a part.

    Args:
        folder: Is made when it is not there.
        part: The rows.
        number: Place in the order of parts.

    Raises:
        RunFolderError: The disk is full or the folder cannot be written.
    """
    make_folder(folder)
    columns: dict[str, pa.Array] = {
        "path": pa.array([row.name for row in part.rows], pa.string()),
        "digest": pa.array([row.digest for row in part.rows], pa.string()),
        "width": pa.array([row.size[0] for row in part.rows], pa.int32()),
        "height": pa.array([row.size[1] for row in part.rows], pa.int32()),
    }
    for prompt in part.prompts:
        columns[prompt] = pa.array([dict(row.answers[prompt]) for row in part.rows], _ANSWER)
    vectors = [row.vector for row in part.rows if row.vector is not None]
    if vectors:
        flat = pa.array(np.concatenate(vectors), pa.float32())
        columns["embedding"] = pa.FixedSizeListArray.from_arrays(flat, len(vectors[0]))
    meta = {
        "backbone": part.model,
        "fingerprint": part.fingerprint,
        "unread": [[one.name, one.reason, one.slug] for one in part.unread],
        "prompts": list(part.prompts),
    }
    table = pa.table(columns).replace_schema_metadata({b"snellen": json.dumps(meta, sort_keys=True).encode()})
    target = folder / f"part-{number:06d}.parquet"
    with replacing(target) as file:
        tables.write_table(table, file, compression="zstd")
    return target


def read_captions(folder: str | Path, *, prompts: Sequence[str] | None = None) -> Iterator[Caption]:
    """The rows of a folder, part by part, so that memory stays flat; an image that is there twice comes once.

    Args:
        folder: As `write_caption_part` wrote it.
        prompts: Of these only.

    Raises:
        DataError: A part is damaged.
    """
    for path in part_files(Path(folder)):
        try:
            table = tables.read_table(path)
            meta = json.loads((table.schema.metadata or {})[b"snellen"])
            names = [name for name in meta["prompts"] if prompts is None or name in prompts]
            vectors = _vectors(table)
            for number, row in enumerate(table.drop_columns(["embedding"] if vectors is not None else []).to_pylist()):
                yield Caption(
                    row["path"],
                    row["digest"],
                    (row["width"], row["height"]),
                    {name: row[name] for name in names},
                    None if vectors is None else vectors[number],
                )
        except (OSError, pa.ArrowException, KeyError, ValueError, TypeError) as error:
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise DataError(
                f"{path} is no part of captions: {reason}", hint="delete it: the same command computes it anew"
            ) from error


def _vectors(table: Any) -> npt.NDArray[np.float32] | None:
    if "embedding" not in table.column_names:
        return None
    column = table.column("embedding").combine_chunks()
    return np.asarray(column.flatten(), np.float32).reshape(-1, column.type.list_size)
