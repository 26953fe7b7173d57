"""Which files are looked at, and which of them belong together."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from snellen.errors import UsageError

__all__ = ["SUFFIXES", "find_files", "project_root"]

SUFFIXES = (".py", ".ipynb", ".yaml", ".yml")
_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages", "build", "dist", "wandb"})
_MARKERS = ("pyproject.toml", "setup.py", "setup.cfg", ".git", "requirements.txt")


def find_files(paths: Sequence[str | os.PathLike[str]]) -> list[tuple[Path, Path]]:
    """Every Python file, notebook and YAML file at or below the paths, each with the root of its project.

    Hidden folders, virtual environments and build outputs are passed over, unless they are named themselves.

    Raises:
        UsageError: A path does not exist or is neither a folder nor a file that can be looked at.
    """
    found: dict[Path, Path] = {}
    for given in map(Path, paths):
        if given.is_dir():
            for path in _walk(given):
                found.setdefault(path, given)
        elif not given.exists():
            raise UsageError(f"{given} does not exist", hint="give files or folders, for example: snellen lint src")
        elif given.suffix not in SUFFIXES:
            raise UsageError(
                f"{given} is neither Python nor a notebook nor YAML", hint=f"expected {' or '.join(SUFFIXES)}"
            )
        else:
            found.setdefault(given, project_root(given))
    return list(found.items())


def project_root(path: Path) -> Path:
    """The nearest folder above that looks like the top of a project, else the file's own folder."""
    folder = path.absolute().parent
    return next((above for above in (folder, *folder.parents) if _is_root(above)), folder)


def _is_root(folder: Path) -> bool:
    return any((folder / marker).exists() for marker in _MARKERS)


def _walk(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(_wanted(folder, folders))
        for name in sorted(files):
            if name.endswith(SUFFIXES):
                yield Path(folder) / name


def _wanted(folder: str, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        if not name.startswith(".") and name not in _SKIPPED and not Path(folder, name, "pyvenv.cfg").exists():
            yield name
