"""All that is wrong with a submission file, at once and with line numbers, however large the file is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from snellen.errors import DataError
from snellen.tasks.forgery.rle import PixelOrder, Runs, parse_runs

__all__ = ["Row", "SubmissionProblem", "annotation_of", "read_rows", "validate_submission"]

_HEADER = ["case_id", "annotation"]
_MAX_LINE = 64_000_000


@dataclass(frozen=True, slots=True)
class SubmissionProblem:
    """One thing that is wrong.

    Args:
        line: Line of the file, counted from 1; `None` if it concerns the whole file.
        case_id: The image, as far as known.
        message: What was found and what was expected.
    """

    line: int | None
    case_id: str | None
    message: str

    def __str__(self) -> str:
        place = "file" if self.line is None else f"line {self.line}"
        return f"{place}{f' ({self.case_id})' if self.case_id else ''}: {self.message}"


@dataclass(frozen=True, slots=True)
class Row:
    """A line taken apart; `fields` is empty for a blank line."""

    line: int
    fields: list[str]


@dataclass(slots=True)
class _Validation:
    sizes: Mapping[str, tuple[int, int] | None] | None
    order: PixelOrder
    limit: int
    problems: list[SubmissionProblem] = field(default_factory=list)
    unlisted: int = 0
    first_lines: dict[str, int] = field(default_factory=dict)

    def add(self, line: int | None, case_id: str | None, message: str) -> None:
        if len(self.problems) < self.limit:
            self.problems.append(SubmissionProblem(line, case_id, message))
        else:
            self.unlisted += 1


def validate_submission(
    path: str | Path,
    *,
    images: Mapping[str, tuple[int, int] | None] | Iterable[str] | None = None,
    order: PixelOrder = "columns",
    limit: int = 1000,
) -> list[SubmissionProblem]:
    r"""Check a submission file, one line in memory at a time.

    Found are: a wrong header, byte order marks and blank lines; ids that are empty, padded with blanks, unknown, given
    twice or missing; annotations that are empty, mix `authentic` with runs or are not whole numbers; runs that are
    odd in number, not positive, unsorted, overlapping or outside the image; and runs that were numbered along the rows
    where columns are expected, or the other way about, as far as images that are not nearly square tell.

    Args:
        path: The CSV file.
        images: Ids that must be there, each exactly once, with `(height, width)` where it is known; see
            `image_sizes`. Without it, ids and ranges are not checked.
        order: The numbering of pixels that is expected.
        limit: Most problems listed; how many more there are is the last one.

    Returns:
        The problems in order of lines; empty when the file is fine.

    Raises:
        DataError: The file is missing or cannot be read.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "submission.csv"
        >>> _ = path.write_text('case_id,annotation\n1,"[5, 3, 6, 9]"\n1,Authentic\n')
        >>> for problem in validate_submission(path, images={"1": (4, 3), "2": (4, 3)}):
        ...     print(problem)
        line 2 (1): run 2 starts at 6, inside run 1, which ends at 7
        line 2 (1): run 2 (6, 9) ends at 14, the image has 12 pixels (3 x 4)
        line 3 (1): id was given in line 2 already
        line 3 (1): 'Authentic' must be written authentic, in lower case and without blanks
        file: 1 of 2 images is missing: 2
    """
    sizes = images if images is None or isinstance(images, Mapping) else dict.fromkeys(images)
    state = _Validation(sizes, order, limit)
    rows = read_rows(Path(path))
    _check_header(next(rows, None), state)
    for row in rows:
        _check_row(row, state)
    if not state.first_lines:
        state.add(None, None, "there is no image in the file")
    missing = [name for name in sizes or () if name not in state.first_lines]
    if missing:
        more = f" and {len(missing) - 10} more" if len(missing) > 10 else ""
        said = f"{len(missing)} of {len(sizes or ())} images {'is' if len(missing) == 1 else 'are'} missing"
        state.add(None, None, f"{said}: {', '.join(missing[:10])}{more}")
    if state.unlisted:
        state.problems.append(SubmissionProblem(None, None, f"{state.unlisted} more problems are not listed"))
    return state.problems


def annotation_of(encoded: Sequence[str]) -> str:
    """The annotation of an image from its masks' run texts.

    Example:
        >>> annotation_of(["[1, 2]", "[7, 1]"]), annotation_of([])
        ('[1, 2];[7, 1]', 'authentic')
    """
    return ";".join(encoded) if encoded else "authentic"


def read_rows(path: Path) -> Iterator[Row]:
    """Lines of a CSV file; `csv` is not used because its limit on a field's length is global and too small for runs.

    Raises:
        DataError: The file is missing, is not UTF-8 text, or a line has more than 64 million characters.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            number = 0
            while text := file.readline(_MAX_LINE):
                number += 1
                if len(text) == _MAX_LINE:
                    raise DataError(f"{path}, line {number}: longer than {_MAX_LINE} characters")
                yield Row(number, _fields(text.rstrip("\r\n")))
    except FileNotFoundError as error:
        raise DataError(
            f"{path} does not exist", hint="snellen predict RUN.yaml IMAGES -o OUT writes one", slug="missing-file"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", slug="missing-file") from error


def _fields(text: str) -> list[str]:
    if not text.strip():
        return []
    fields, rest = [], text
    while True:
        if rest.startswith('"'):
            end = 1
            while (end := rest.find('"', end)) != -1 and rest[end + 1 : end + 2] == '"':
                end += 2
            end = len(rest) if end == -1 else end
            fields.append(rest[1:end].replace('""', '"'))
            rest = rest[end + 1 :]
        else:
            value, comma, rest = rest.partition(",")
            fields.append(value)
            rest = comma + rest
        if not rest.startswith(","):
            return fields
        rest = rest[1:]


def _check_header(row: Row | None, state: _Validation) -> None:
    if row is None:
        state.add(1, None, "the file is empty, expected the header case_id,annotation")
        return
    fields = list(row.fields)
    if fields and fields[0].startswith("\ufeff"):
        state.add(1, None, "begins with a byte order mark: save as UTF-8 without one")
        fields[0] = fields[0].removeprefix("\ufeff")
    if fields != _HEADER:
        state.add(1, None, f"header is {','.join(fields)[:80]!r}, expected 'case_id,annotation'")


def _check_row(row: Row, state: _Validation) -> None:
    if not row.fields:
        state.add(row.line, None, "blank line")
        return
    case_id = row.fields[0]
    if len(row.fields) != 2:
        found = "1 field" if len(row.fields) == 1 else f"{len(row.fields)} fields"
        state.add(row.line, case_id, f"{found}, expected 2; runs written with commas need quotes")
    _check_id(row.line, case_id, state)
    if len(row.fields) == 2:
        size = state.sizes.get(case_id) if state.sizes is not None else None
        for message in _annotation_problems(row.fields[1], size, state.order):
            state.add(row.line, case_id, message)


def _check_id(line: int, case_id: str, state: _Validation) -> None:
    if not case_id.strip():
        state.add(line, None, "id is empty")
        return
    if case_id != case_id.strip():
        state.add(line, case_id, f"id {case_id!r} has blanks around it")
    first = state.first_lines.setdefault(case_id, line)
    if first != line:
        state.add(line, case_id, f"id was given in line {first} already")
    if state.sizes is not None and case_id not in state.sizes:
        hint = f", which is {Path(case_id).stem} with a suffix" if Path(case_id).stem in state.sizes else ""
        state.add(line, case_id, f"unknown id{hint}")


def _annotation_problems(annotation: str, size: tuple[int, int] | None, order: PixelOrder) -> Iterator[str]:
    parts = annotation.split(";")
    if annotation == "authentic":
        return
    if not annotation.strip():
        yield "annotation is empty, expected authentic or runs"
    elif annotation.strip().casefold() == "authentic":
        yield f"{annotation!r} must be written authentic, in lower case and without blanks"
    elif any(part.strip().casefold() == "authentic" for part in parts):
        yield "authentic is mixed with runs, expected one or the other"
    else:
        for number, part in enumerate(parts, start=1):
            where = f"mask {number}: " if len(parts) > 1 else ""
            for message in _mask_problems(part, size, order):
                yield where + message


def _mask_problems(text: str, size: tuple[int, int] | None, order: PixelOrder) -> Iterator[str]:
    try:
        runs = parse_runs(text)
    except DataError as error:
        yield error.message
        return
    if not len(runs):
        yield "no run, expected at least one, or authentic for the image"
        return
    yield from _run_problems(runs, size)
    if size is not None and _numbered_otherwise(runs, size, order):
        other = "rows" if order == "columns" else "columns"
        yield f"the runs seem to be numbered along the {other}, expected {order}: by their steps from one to the next"


def _run_problems(runs: Runs, size: tuple[int, int] | None) -> Iterator[str]:
    """The first problem of each kind; one wrong mask would otherwise fill the report."""
    starts, lengths = runs[:, 0], runs[:, 1]
    ends = starts + lengths - 1
    for bad in np.flatnonzero(starts < 1)[:1]:
        yield f"run {bad + 1} starts at {starts[bad]}, pixels are counted from 1"
    for bad in np.flatnonzero(lengths < 1)[:1]:
        yield f"run {bad + 1} has length {lengths[bad]}, expected at least 1"
    for bad in np.flatnonzero(starts[1:] < starts[:-1])[:1]:
        yield f"run {bad + 2} starts at {starts[bad + 1]}, before run {bad + 1} at {starts[bad]}: not sorted"
    ascending = np.argsort(starts, kind="stable")
    inside = starts[ascending][1:] <= np.maximum.accumulate(ends[ascending])[:-1]
    for bad in np.flatnonzero(inside)[:1]:
        before, after = ascending[bad], ascending[bad + 1]
        yield f"run {after + 1} starts at {starts[after]}, inside run {before + 1}, which ends at {ends[before]}"
    if size is not None:
        pixels = size[0] * size[1]
        for bad in np.flatnonzero(ends > pixels)[:1]:
            yield (
                f"run {bad + 1} ({starts[bad]}, {lengths[bad]}) ends at {ends[bad]}, "
                f"the image has {pixels} pixels ({size[1]} x {size[0]})"
            )


def _numbered_otherwise(runs: Runs, size: tuple[int, int], order: PixelOrder) -> bool:
    """Whether neighbouring runs lie one row apart where one column is expected, or the other way about.

    The borders of a region move by few pixels from one line to the next, so starts differ by about the length of a
    line: the image's height down the columns, its width along the rows.
    """
    height, width = size
    expected, other = (height, width) if order == "columns" else (width, height)
    slack = abs(height - width) // 3
    if len(runs) < 9 or slack < 8:
        return False
    steps = np.diff(runs[:, 0])
    fits_other = np.mean(np.abs(steps - other) <= slack)
    fits_expected = np.mean(np.abs(steps - expected) <= slack)
    return bool(fits_other >= 0.6 and fits_expected <= 0.1)
