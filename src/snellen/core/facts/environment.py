"""The software that a run would be started with, read from files; nothing of it is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["CodeFacts", "EnvironmentFacts", "ImportedModule", "RepositoryFacts"]


@dataclass(frozen=True, slots=True)
class EnvironmentFacts:
    """Python, its packages and the variables that it would be started with.

    Args:
        python: Version of Python, such as `3.11.7`.
        executable: The interpreter.
        packages: Version of each installed distribution by its normalised name (`opencv-python`), with the local tag
            (`2.6.0+cu124`) of those whose metadata or version file has one.
        doubled: Distributions whose metadata stands there more than once, and the versions that it names.
        torch_cuda: The CUDA that torch was built for; `None` for a build without CUDA, without torch, or when unknown.
        torch_build: Local tag of torch: `cu124`, `cpu`, `rocm6.2`; `""` when unknown.
        torch_architectures: Capabilities that this build of torch holds code for (`(8, 6)`), empty when unknown.
        torch_runs_later: Whether it holds code, too, that later GPUs compile for themselves.
        torch_problem: Why torch cannot be used as it lies on disk, `""` when nothing was found.
        variables: Environment variables that change what a run does; no secrets, passwords left out.
        notes: What could not be found out, and why.
    """

    python: str
    executable: str
    packages: Mapping[str, str] = field(default_factory=dict)
    doubled: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    torch_cuda: tuple[int, int] | None = None
    torch_build: str = ""
    torch_architectures: tuple[tuple[int, int], ...] = ()
    torch_runs_later: bool = False
    torch_problem: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ImportedModule:
    """A top-level module that the run's code imports.

    Args:
        name: As imported, `cv2`.
        path: The first file that does.
        line: Where.
        found: Whether Python would find it.
        guarded: Whether the import stands in a `try` that catches its failure, or in a function or a test.
    """

    name: str
    path: str
    line: int
    found: bool
    guarded: bool = False


@dataclass(frozen=True, slots=True)
class CodeFacts:
    """What the run's own code asks of the environment.

    Args:
        files: How many files were read.
        imports: Its modules, each once.
        compiles: `(path, line)` of calls of `torch.compile`.
        unread: Files that could not be read or are no Python, and why.
    """

    files: int
    imports: tuple[ImportedModule, ...] = ()
    compiles: tuple[tuple[str, int], ...] = ()
    unread: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class RepositoryFacts:
    """The git repository that the run's code lies in.

    Args:
        root: Its folder.
        commit: The commit that is checked out, `""` before the first one.
        branch: `""` when HEAD is detached.
        changed: Files of the run's code that differ from the commit.
        untracked: Files of the run's code that git does not know, or is told to ignore.
    """

    root: str
    commit: str
    branch: str
    changed: tuple[str, ...] = ()
    untracked: tuple[str, ...] = ()
