"""The user's project: where its root is, and whether a copy of it lies inside itself."""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from snellen.core.facts.project import ProjectFacts
from snellen.core.plan import Plan

__all__ = ["find_project_root", "provide_project"]

_MARKERS = (".git", "pyproject.toml", "setup.py", "setup.cfg", "requirements.txt")
_DEPTH = 3
_MAX_FOLDERS = 3000


def find_project_root(start: str | Path | None = None) -> Path:
    """The root of the project that a file or folder belongs to.

    The outermost repository or package wins when the same project is nested in itself, as after `git clone` was run
    once more inside the checkout. Without any marker the folder itself is the answer.

    Args:
        start: A file or folder; the current folder without it.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp()).resolve()
        >>> (root / "pyproject.toml").touch()
        >>> (root / "src").mkdir()
        >>> find_project_root(root / "src") == root
        True
    """
    place = Path(start if start is not None else Path.cwd()).resolve()
    place = place if place.is_dir() else place.parent
    candidates = [folder for folder in (place, *place.parents) if _markers(folder)]
    if not candidates:
        return place
    root = candidates[0]
    for outer in candidates[1:]:
        if _same_project(outer, root):
            root = outer
    return root


def provide_project(plan: Plan) -> ProjectFacts:
    """The fact `project`."""
    place = plan.root.resolve()
    root = find_project_root(place)
    nested = [folder for folder in _folders(root) if _markers(folder) and _same_project(root, folder)]
    return ProjectFacts(
        root=str(root),
        markers=_markers(root),
        nested=tuple(str(folder) for folder in nested),
        inside_nested=any(place.is_relative_to(folder) for folder in nested),
        shadowed=tuple(_shadowed(plan, root)),
    )


def _markers(folder: Path) -> tuple[str, ...]:
    return tuple(name for name in _MARKERS if (folder / name).exists())


def _same_project(outer: Path, inner: Path) -> bool:
    """Whether one folder is a copy of the other: same remote, or same name and same files."""
    if outer == inner:
        return False
    remotes = _remote(outer), _remote(inner)
    if remotes[0] and remotes[1]:
        return remotes[0] == remotes[1]
    # Two packages of one repository differ in both; a copy has the name and most of the entries of its original.
    if outer.name.casefold() != inner.name.casefold():
        return False
    names = _entries(outer), _entries(inner)
    return bool(names[1]) and len(names[0] & names[1]) >= max(1, len(names[1]) // 2)


def _remote(folder: Path) -> str:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    try:
        text = (folder / ".git" / "config").read_text(encoding="utf-8", errors="replace")
        # git indents with tabs, which configparser takes for continuation lines.
        parser.read_string("\n".join(line.strip() for line in text.splitlines()))
    except (OSError, configparser.Error):
        return ""
    section = next((name for name in parser.sections() if name.startswith('remote "')), None)
    url = parser.get(section, "url", fallback="") if section else ""
    return url.removesuffix("/").removesuffix(".git")


def _entries(folder: Path) -> set[str]:
    try:
        return {entry.name for entry in folder.iterdir() if entry.name != ".git"}
    except OSError:
        return set()


def _folders(root: Path) -> Iterator[Path]:
    """Folders below the root, a few levels deep, without environments, caches and data in the thousands."""
    seen = 0
    for place, names, _files in os.walk(root):
        depth = len(Path(place).relative_to(root).parts)
        names[:] = sorted(
            name
            for name in names
            if depth < _DEPTH and not name.startswith(".") and name not in {"node_modules", "__pycache__", "venv"}
        )
        for name in names:
            seen += 1
            if seen > _MAX_FOLDERS:
                return
            yield Path(place, name)


def _shadowed(plan: Plan, root: Path) -> Iterator[tuple[str, str, str]]:
    """Top-level modules of the run's code that are loaded from, or would be found in, another place."""
    code = plan.settings.get("code")
    for item in code if isinstance(code, list) else []:
        source = (plan.root / item).resolve() if isinstance(item, str) else root
        files = sorted(source.glob("*.py")) if source.is_dir() else [source] if source.suffix == ".py" else []
        for file in files:
            loaded = sys.modules.get(file.stem)
            origin = getattr(loaded, "__file__", None) if loaded is not None else None
            if isinstance(origin, str) and Path(origin).name == file.name and Path(origin).resolve() != file:
                yield file.stem, origin, str(file)
