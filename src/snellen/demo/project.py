"""A small project with seven mistakes: one from each bug of a real first training attempt."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import sys
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from snellen.check.facts.modules import reload_stale_modules

__all__ = ["PLANTED", "Planted", "mend_by_hand", "plant", "remove_module"]

_NAME = "copy-move"
_MODULE = "labels"


@dataclass(frozen=True, slots=True)
class Planted:
    """One planted mistake: the rule that should find it, and what it is."""

    slug: str
    what: str


PLANTED = (
    Planted("layout-scrambled", "features permuted that are (B, C, H, W) already"),
    Planted("fill-out-of-range", "-1e9 as a mask under float16"),
    Planted("padding-not-lcm", "padding to 32 under a patch of 14"),
    Planted("unfold-blowup", "an unfold of gigabytes, only to be averaged"),
    Planted("config-type", "a learning rate that is text"),
    Planted("stale-module", "an edited module that Python does not load again"),
    Planted("wrong-project-root", "a repository cloned inside itself"),
)
"""In the order of the seven bugs."""


def plant(folder: Path) -> Path:
    """Write the project with its mistakes.

    The stale module is real: it is imported into this process, then edited on disk.

    Args:
        folder: Where the project's folder is made.

    Returns:
        The run file.
    """
    project = folder / _NAME
    _write_template(project)
    _make_repository(project)
    # What `git clone` leaves behind when it is run inside the checkout once more.
    shutil.copytree(project, project / _NAME)
    _make_stale(project / "src" / f"{_MODULE}.py")
    return project / "run.yaml"


def mend_by_hand(project: Path) -> list[str]:
    """Do what a person is left to do: follow the findings that no program may act on.

    Returns:
        A sentence for each thing done.
    """
    done = [f"{name} loaded anew" for name in reload_stale_modules([project])]
    correlation = project / "src" / "correlation.py"
    before = correlation.read_text(encoding="utf-8")
    start, end = before.index("    batch, channels ="), before.index("\n\n\ndef self_correlation")
    pooled = "    return F.avg_pool2d(features, patch, stride=stride).flatten(2)"
    correlation.write_text(before[:start] + pooled + before[end:], encoding="utf-8")
    done.append("unfold and mean replaced by F.avg_pool2d")
    nested = project / project.name
    shutil.rmtree(nested)
    done.append(f"rm -r {nested}")
    return done


def remove_module() -> None:
    """Forget the module that `plant` imported."""
    sys.modules.pop(_MODULE, None)


def _write_template(project: Path) -> None:
    template = resources.files("snellen.demo") / "template"
    for name in ("run.yaml", "src/encoder.py", "src/correlation.py", "src/dataset.py", f"src/{_MODULE}.py"):
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((template / f"{name}.txt").read_text(encoding="utf-8"), encoding="utf-8")


def _make_repository(project: Path) -> None:
    """The part of a `.git` folder that tells which repository it is; git itself may be missing."""
    (project / ".git" / "objects").mkdir(parents=True)
    (project / ".git" / "refs").mkdir()
    (project / ".git" / "HEAD").write_text("ref: refs/heads/main\n", encoding="utf-8")
    (project / ".git" / "config").write_text(
        '[core]\n\trepositoryformatversion = 0\n[remote "origin"]\n\turl = https://example.org/copy-move.git\n',
        encoding="utf-8",
    )


def _make_stale(path: Path) -> None:
    specification = importlib.util.spec_from_file_location(_MODULE, path)
    if specification is None or specification.loader is None:
        raise RuntimeError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(specification)
    sys.modules[_MODULE] = module
    specification.loader.exec_module(module)
    path.write_text(path.read_text(encoding="utf-8").replace("mask > 0", "mask > 127"), encoding="utf-8")
