"""Checkpoints on disk: folders that are whole or recognised as torn.

checkpoints/
    last/            the newest, beside it last.1/ (the one before) and so on
    best/            the one with the best headline metric, beside it best.1/
        *.safetensors    tensors
        state.json       numbers and words
        manifest.json    size and SHA-256 of every file, and of itself; written last

A folder is written as `.last.new`, every file and the folder itself synced to disk, and renamed when it is complete.
Pickle is nowhere in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from snellen.core.files import sync, writing
from snellen.errors import ContractError, RunFolderError

__all__ = ["CHECKPOINT_FORMAT", "CheckpointStore", "Kind", "Stored", "savable"]

CHECKPOINT_FORMAT: Final = 1
"""Version of a checkpoint's contents; it grows when older code could no longer read them."""

Kind = Literal["last", "best"]


@dataclass(frozen=True, slots=True)
class Stored:
    """A checkpoint that was found whole.

    Args:
        path: Its folder.
        state: Contents of `state.json`.
        torn: What is wrong with each newer one, which was passed over.
    """

    path: Path
    state: Mapping[str, Any]
    torn: tuple[str, ...] = ()

    @property
    def step(self) -> int:
        """Optimiser steps that were done when it was written."""
        return int(self.state["position"]["step"])

    def tensors(self, name: str) -> dict[str, Tensor]:
        """The tensors of `NAME.safetensors`; empty when the checkpoint has no such file."""
        path = self.path / f"{name}.safetensors"
        return load_file(path) if path.exists() else {}


class CheckpointStore:
    """The `checkpoints` folder of a run.

    Args:
        folder: Is made when the first checkpoint is written.
        keep: How many of each kind are kept.
    """

    def __init__(self, folder: Path, *, keep: int = 2) -> None:
        self._folder = folder
        self._keep = keep

    def write(self, kind: Kind, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> Path:
        """Write a checkpoint and make it the newest of its kind.

        Args:
            kind: `last` or `best`.
            tensors: Tensors by file name (without ending) and name.
            state: Plain data.

        Raises:
            RunFolderError: It cannot be written; the checkpoints before it are as they were.
        """
        beside = self._folder / f".{kind}.new"
        try:
            with writing(beside):
                shutil.rmtree(beside, ignore_errors=True)
                beside.mkdir(parents=True)
                _write_files(beside, tensors, state)
                self._rotate(kind, beside)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
        return self._folder / kind

    def newest(self, kind: Kind) -> Stored | None:
        """The newest whole checkpoint of a kind, `None` when none was ever written.

        Raises:
            RunFolderError: All of them are torn, or the newest is of another format.
        """
        torn: list[str] = []
        found = next(self.whole(kind, torn), None)
        if found is None and torn:
            raise RunFolderError(
                f"no whole checkpoint is left; {'; '.join(torn)}",
                hint="restore the folder from a copy, or train again into a new one",
                slug="corrupt-checkpoint",
            )
        return found

    def whole(self, kind: Kind, torn: list[str]) -> Iterator[Stored]:
        """The whole checkpoints of a kind, the newest first.

        Args:
            kind: `last` or `best`.
            torn: Is told of each that is passed over.

        Raises:
            RunFolderError: One is of another format.
        """
        for path in self._candidates(kind):
            problem = _problem(path)
            if problem is None:
                yield Stored(path, json.loads((path / "state.json").read_text(encoding="utf-8")), tuple(torn))
            # One that was never finished is what a kill leaves behind, and nothing to speak of.
            elif not path.name.startswith("."):
                torn.append(f"{path}: {problem}")

    def _candidates(self, kind: Kind) -> list[Path]:
        names = [f".{kind}.new", kind, *(f"{kind}.{number}" for number in range(1, 100))]
        return [self._folder / name for name in names if (self._folder / name).is_dir()]

    def _rotate(self, kind: Kind, beside: Path) -> None:
        """Move the older ones down by one, drop the oldest, put the new one first."""
        discarded = self._folder / f".{kind}.old"
        shutil.rmtree(discarded, ignore_errors=True)
        names = [kind, *(f"{kind}.{number}" for number in range(1, self._keep))]
        present = [self._folder / name for name in names]
        if present[-1].exists():
            present[-1].rename(discarded)
        for older, newer in zip(reversed(present[1:]), reversed(present[:-1]), strict=True):
            if newer.exists():
                newer.rename(older)
        beside.rename(present[0])
        sync(self._folder)
        shutil.rmtree(discarded, ignore_errors=True)


def savable(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors as safetensors takes them: contiguous, and tied ones apart.

    Raises:
        ContractError: A module keeps something else than tensors in its state dict.
    """
    seen: set[tuple[str, int]] = set()
    result = {}
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise ContractError(
                f"state dict entry {name!r} is {type(tensor).__name__}, expected a tensor: it cannot be saved"
            )
        value = tensor.detach().contiguous()
        place = (str(value.device), value.untyped_storage().data_ptr())
        result[name] = value.clone() if place in seen else value
        seen.add(place)
    return result


def _write_files(folder: Path, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> None:
    for name, group in tensors.items():
        try:
            save_file(savable(group), folder / f"{name}.safetensors")
        except SafetensorError as error:
            # It tells the number of the system's error in words only; as that error it is told as any other write's.
            if number := re.search(r"\(os error (\d+)\)", str(error)):
                raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
            raise RunFolderError(f"cannot write {folder / name}.safetensors: {error}") from error
    (folder / "state.json").write_text(json.dumps(state, indent=1, allow_nan=True), encoding="utf-8")
    files = {path.name: {"bytes": path.stat().st_size, "sha256": _sha256(path)} for path in sorted(folder.iterdir())}
    manifest = {"format": CHECKPOINT_FORMAT, "files": files}
    text = json.dumps({**manifest, "sha256": _digest(manifest)}, indent=1)
    (folder / "manifest.json").write_text(text, encoding="utf-8")
    for path in folder.iterdir():
        sync(path)
    sync(folder)


def _problem(folder: Path) -> str | None:
    """What is wrong with a checkpoint, `None` when it is whole."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        digest = manifest.pop("sha256", None)
        if digest != _digest(manifest):
            return "manifest.json is damaged"
        _check_format(folder, manifest["format"])
        for name, expected in manifest["files"].items():
            path = folder / name
            if path.stat().st_size != expected["bytes"]:
                return f"{name} has {path.stat().st_size} bytes, expected {expected['bytes']}"
            if _sha256(path) != expected["sha256"]:
                return f"{name} is damaged: its checksum differs"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "manifest.json is damaged"
    return None


def _check_format(folder: Path, found: Any) -> None:
    if found != CHECKPOINT_FORMAT:
        raise RunFolderError(
            f"{folder} has checkpoint format {found}, this Snellen reads format {CHECKPOINT_FORMAT}",
            hint="use the version of Snellen that wrote it, or train again",
        )


def _digest(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
