"""Which classes the samples of a data folder carry, and when two names of a class are one name spelled twice."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from snellen.core.facts.data import FolderAudit

__all__ = ["class_counts", "folded", "hidden", "label_of_number", "stated_classes", "variants"]


def class_counts(folder: FolderAudit) -> Counter[str]:
    """How often each class occurs: samples of a classification, boxes of a detection; names as they are written."""
    counts = Counter(sample.label for sample in folder.samples if sample.label is not None)
    if not counts:
        counts.update(box.label for sample in folder.samples for box in sample.boxes or ())
    return Counter({label_of_number(label, folder.classes): count for label, count in counts.items()})


def label_of_number(label: str, classes: tuple[str, ...]) -> str:
    """The name for a label that is the number of a declared class, else the label as it is.

    Example:
        >>> label_of_number("1", ("cat", "dog")), label_of_number("7", ("cat", "dog"))
        ('dog', '7')
    """
    number = int(label) if label.isdecimal() and len(label) < 10 else -1
    return classes[number] if label not in classes and 0 <= number < len(classes) else label


def folded(name: str) -> str:
    r"""A name without what people take for the same: case, blanks, underscores, hyphens, and how accents are stored.

    Example:
        >>> folded(" Red_Blood-cell ") == folded("red blood cell")
        True
        >>> folded("caf\u00e9") == folded("cafe\u0301")
        True
    """
    return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFC", name)).strip().casefold()


def variants(names: Iterable[str]) -> list[list[str]]:
    """Groups of names that differ in case or blanks only.

    Example:
        >>> variants(["cat", "dog", "Cat", "cat "])
        [['Cat', 'cat', 'cat ']]
    """
    groups: defaultdict[str, set[str]] = defaultdict(set)
    for name in names:
        groups[folded(name)].add(name)
    return sorted(sorted(group) for group in groups.values() if len(group) > 1)


def hidden(folder: FolderAudit, name: str) -> bool:
    """Whether images of a class may lie in a folder that the run may not read; `unreadable-file` says so then.

    Example:
        >>> from snellen.core.facts.data import ListingProblem
        >>> closed = ListingProblem("unreadable-folder", "1 of 3 folders cannot be read", ("train/cat",), 1, 3)
        >>> audit = FolderAudit("data.train", "train", "class-folders", problems=(closed,))
        >>> hidden(audit, "Cat"), hidden(audit, "dog")
        (True, False)
    """
    closed = [problem for problem in folder.problems if problem.kind == "unreadable-folder"]
    return any(
        problem.count > len(problem.paths) or any(f"/{folded(name)}/" in f"/{folded(path)}/" for path in problem.paths)
        for problem in closed
    )


def stated_classes(settings: Mapping[str, Any]) -> tuple[str, int] | None:
    """The setting that says how many classes there are, and the number, `None` without one.

    Example:
        >>> stated_classes({"model": {"num_classes": 3}}), stated_classes({"data": {"classes": ["a", "b"]}})
        (('model.num_classes', 3), ('data.classes', 2))
    """
    for section, content in settings.items():
        for name, value in content.items() if isinstance(content, Mapping) else ((section, content),):
            key = f"{section}.{name}" if isinstance(content, Mapping) else section
            if name in ("num_classes", "n_classes") and isinstance(value, int) and not isinstance(value, bool):
                return key, value
            if name in ("classes", "class_names") and isinstance(value, (list, tuple)) and value:
                return key, len(value)
    return None
