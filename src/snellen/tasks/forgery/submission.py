"""Submission files: `case_id,annotation`, a line for each image, `authentic` where nothing was found."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from snellen.core.files import replacing, writing
from snellen.data.reading import probe_image
from snellen.errors import DataError
from snellen.tasks.forgery.rle import PixelOrder, RunStyle, decode_rle, encode_rle
from snellen.tasks.forgery.validation import SubmissionProblem, annotation_of, read_rows, validate_submission

__all__ = [
    "PixelOrder",
    "RunStyle",
    "SubmissionProblem",
    "SubmissionWriter",
    "decode_rle",
    "encode_rle",
    "image_sizes",
    "read_submission",
    "validate_submission",
    "write_submission",
]

_BYTES = "backslashreplace"
"""How bytes of a file's name that are no text are written, here as in all other files."""


class SubmissionWriter:
    """Writes a submission line by line; the file appears, whole, when the `with` block ends well.

    Args:
        path: The CSV file; one that exists is replaced at the end.
        order: Numbering of the pixels, see `PixelOrder`.
        style: How runs are written, see `RunStyle`.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "submission.csv"
        >>> with SubmissionWriter(path) as writer:
        ...     writer.add("1", [np.eye(2, dtype=bool)])
        ...     writer.add("2", [])
        >>> print(path.read_text(), end="")
        case_id,annotation
        1,"[1, 1, 4, 1]"
        2,authentic
    """

    def __init__(self, path: str | Path, *, order: PixelOrder = "columns", style: RunStyle = "json") -> None:
        self._path = Path(path)
        self._order: PixelOrder = order
        self._style: RunStyle = style
        self._open = contextlib.ExitStack()
        self._file: BinaryIO | None = None
        self._written: set[str] = set()

    def __enter__(self) -> SubmissionWriter:
        self._file = self._open.enter_context(replacing(self._path))
        self._file.write(b"case_id,annotation\n")
        return self

    def add(self, case_id: str, masks: npt.NDArray[Any] | Sequence[npt.NDArray[Any]]) -> None:
        """Write one image's line.

        Args:
            case_id: The image's id, usually its file name without suffix.
            masks: One mask `(height, width)`, or several, `(regions, height, width)` or a list, which are separated by
                `;`. Empty masks are left out; without any, the image is `authentic`.

        Raises:
            DataError: The id is empty or was written before.
            RunFolderError: The disk is full.
        """
        if self._file is None:
            raise ValueError("SubmissionWriter writes inside its `with` block only")
        if not case_id.strip() or case_id in self._written:
            raise DataError(f"case id {case_id!r} is " + ("written twice" if case_id.strip() else "empty"))
        several = [masks] if isinstance(masks, np.ndarray) and masks.ndim == 2 else list(masks)
        encoded = [encode_rle(mask, order=self._order, style=self._style) for mask in several if np.any(mask)]
        with writing(self._path):
            self._file.write(f"{_quoted(case_id)},{_quoted(annotation_of(encoded))}\n".encode(errors=_BYTES))
        self._written.add(case_id)

    def __exit__(self, *details: Any) -> None:
        self._file = None
        self._open.__exit__(*details)


def write_submission(
    path: str | Path,
    predictions: Iterable[tuple[str, npt.NDArray[Any] | Sequence[npt.NDArray[Any]]]],
    *,
    order: PixelOrder = "columns",
    style: RunStyle = "json",
) -> int:
    """Write a whole submission; see `SubmissionWriter.add` for what a prediction may be.

    Returns:
        Number of images written.

    Raises:
        DataError: An id is empty or comes twice; no file is left behind.
        RunFolderError: It cannot be written.
    """
    count = 0
    with SubmissionWriter(path, order=order, style=style) as writer:
        for case_id, masks in predictions:
            writer.add(case_id, masks)
            count += 1
    return count


def read_submission(path: str | Path) -> Iterator[tuple[str, list[str]]]:
    """Ids and the run texts of their masks, one line at a time; no text for an authentic image.

    Raises:
        DataError: The file is missing or a line is not of two fields; `validate_submission` says more.
    """
    for row in read_rows(Path(path)):
        if row.line == 1:
            continue
        if len(row.fields) != 2:
            raise DataError(f"{path}, line {row.line}: {len(row.fields)} fields, expected case_id,annotation")
        case_id, annotation = row.fields
        yield case_id, [] if annotation.strip() == "authentic" else annotation.split(";")


def image_sizes(paths: Iterable[str | Path]) -> dict[str, tuple[int, int] | None]:
    """Ids (file names without suffix) and sizes `(height, width)` of images, as `validate_submission` takes them.

    An image whose header cannot be read has the size `None`: a submission must hold it all the same.
    """
    return {Path(path).stem.encode(errors=_BYTES).decode(): _size_of(path) for path in paths}


def _size_of(path: str | Path) -> tuple[int, int] | None:
    try:
        return probe_image(path).upright_size
    except DataError:
        return None


def _quoted(field: str) -> str:
    return '"' + field.replace('"', '""') + '"' if re.search(r'[",\r\n]', field) else field
