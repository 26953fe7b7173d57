"""Names of classes and the consecutive numbers that a head learns: only classes that have samples get one.

A class without a sample cannot be learned, and an output for it would only take probability from the others. So labels
are numbered anew from 0 without gaps; the map is kept with the weights, and whoever uses them translates through it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from snellen.core.classes_of import variants
from snellen.data.listing import natural_key
from snellen.errors import DataError, RunFolderError

__all__ = ["ClassMap"]

_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class ClassMap:
    """Which class has which number.

    Args:
        names: Classes that are learned, by number.
        counts: Training samples of each.
        absent: Classes that were declared and have no training sample: they have no number.

    Example:
        >>> classes = ClassMap.of(["cat", "dog", "cat"], declared=["bird", "cat", "dog"])
        >>> classes.names, classes.absent, classes.number("dog")
        (('cat', 'dog'), ('bird',), 1)
    """

    names: tuple[str, ...]
    counts: tuple[int, ...]
    absent: tuple[str, ...] = ()
    _numbers: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_numbers", {name: number for number, name in enumerate(self.names)})

    @classmethod
    def of(cls, labels: Iterable[str], *, declared: Sequence[str] = (), what: str = "the labels") -> ClassMap:
        """The map of a training set.

        Args:
            labels: Of its samples.
            declared: All classes there should be, in their order; without it those that occur, in natural order.
            what: Whose labels they are, for messages.

        Raises:
            DataError: There is no label; one is not declared, or declared twice; two differ in case or blanks only.
        """
        counts = Counter(labels)
        if not counts:
            hint = "look whether the labels name these images, or leave this head out"
            raise DataError(f"{what}: no training sample has a label", hint=hint, slug="empty-dataset")
        strange = sorted(set(counts) - set(declared)) if declared else []
        if strange:
            raise DataError(
                f"{what}: {_named(strange)} {'is' if len(strange) == 1 else 'are'} not among the declared classes "
                f"{', '.join(declared)}",
                hint="correct the labels, or declare the class",
                slug="label-out-of-range",
            )
        twice = [name for name, times in Counter(declared).items() if times > 1]
        if twice:
            raise DataError(f"{what}: {_named(twice)} declared more than once", hint="declare each class once")
        double = variants(sorted({*counts, *declared}))
        if double:
            names = "; ".join(" and ".join(repr(name) for name in group) for group in double[:_SHOWN])
            raise DataError(f"{what}: names differ in case or blanks only: {names}", hint="give each class one name")
        order = list(declared) or sorted(counts, key=natural_key)
        present = tuple(name for name in order if counts[name])
        return cls(present, tuple(counts[name] for name in present), tuple(name for name in order if not counts[name]))

    def __len__(self) -> int:
        return len(self.names)

    def number(self, label: str) -> int:
        """The number of a class.

        Raises:
            DataError: It has none; it is never taken for another.
        """
        number = self._numbers.get(label)
        if number is None:
            raise self._unmapped([label], "the labels")
        return number

    def numbers(self, labels: Sequence[str | None], *, what: str = "the labels") -> list[int]:
        """The number of each label, -1 for samples that have none.

        Args:
            labels: As they are written, `None` where a sample has no label.
            what: Whose labels they are, for messages.

        Raises:
            DataError: Labels without a number, all named with how often they occur.
        """
        strange = [label for label in labels if label is not None and label not in self._numbers]
        if strange:
            raise self._unmapped(strange, what)
        return [-1 if label is None else self._numbers[label] for label in labels]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for a checkpoint."""
        return {"names": list(self.names), "counts": list(self.counts), "absent": list(self.absent)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ClassMap:
        """The map that `to_dict` wrote.

        Raises:
            RunFolderError: It is something else.
        """
        try:
            names, absent = tuple(map(str, data["names"])), tuple(map(str, data["absent"]))
            counts = tuple(int(count) for count in data["counts"])
        except (KeyError, TypeError, ValueError) as error:
            raise RunFolderError("the class map of the checkpoint is damaged", slug="corrupt-checkpoint") from error
        if len(set(names)) != len(names) or len(counts) != len(names):
            raise RunFolderError("the class map of the checkpoint is damaged", slug="corrupt-checkpoint")
        return cls(names, counts, absent)

    def _unmapped(self, labels: Sequence[str], what: str) -> DataError:
        counts = Counter(labels)
        known = sorted(set(counts) & set(self.absent))
        reason = f"; {_named(known)} {'was' if len(known) == 1 else 'were'} declared without a sample" if known else ""
        samples = f"{counts.total()} sample{'s' if counts.total() > 1 else ''}"
        return DataError(
            f"{what}: {samples} of {_named([name for name, _ in counts.most_common()])}, which the model has not "
            f"learned{reason}; it knows {', '.join(self.names)}",
            hint="add training samples of that class and train again, or leave the label of these samples empty",
            slug="label-out-of-range",
        )


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(repr(name) for name in names[:_SHOWN]) + more
