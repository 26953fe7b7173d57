"""This machine, as probes ask it: the user's own Python, files, commands that only look. Nothing is changed."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from functools import cached_property
from importlib.machinery import PathFinder
from pathlib import Path
from typing import IO

from snellen._env import active_environments
from snellen.core.log import Log
from snellen.core.probe import Answer, Outcome, Ran
from snellen.core.rule import LogFacet, Rule

__all__ = ["ThisMachine", "probe"]

_KEPT = 100_000
"""Characters kept of what a command prints."""
_MODULE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*){0,20}")
_ASK_PATH = "import sys, json; print(json.dumps(sys.path))"


def probe(rule: Rule, log: Log, here: ThisMachine) -> Answer:
    """Ask this machine whether what a rule claims about a log holds here.

    Returns:
        Confirmed, refuted, or cannot tell and why; a probe that fails cannot tell.
    """
    facet = rule.log
    if not isinstance(facet, LogFacet) or facet.probe is None:
        return Answer(
            Outcome.CANNOT_TELL,
            "no probe: the claim is about that run's data or code, which this machine cannot be asked for",
        )
    try:
        return facet.probe(log, here)
    except Exception as error:  # noqa: BLE001 - a broken probe must not take the answer with it
        return Answer(Outcome.CANNOT_TELL, f"the probe failed: {type(error).__name__}: {error}")


class ThisMachine:
    """Implements `snellen.core.probe.Here`.

    Args:
        root: The folder that relative paths of the log start from; the current one by default.
        python: The user's interpreter; by default that of the active environment.
    """

    def __init__(self, root: Path | None = None, python: str | None = None) -> None:
        self._root = root or Path.cwd()
        self._python = python or _interpreter()

    @property
    def root(self) -> Path:
        """The folder that relative paths of the log start from."""
        return self._root

    def version(self, package: str) -> str | None:
        """Version of an installed distribution, read without importing it; `None` when it is not installed."""
        metadata = importlib.import_module("importlib.metadata")
        wanted = re.sub(r"[-_.]+", "-", package).lower()
        for found in metadata.distributions(path=self._path):
            if re.sub(r"[-_.]+", "-", found.metadata["Name"] or "").lower() == wanted:
                return str(found.version)
        return None

    def can_import(self, module: str) -> bool:
        """Whether Python would find a module, without importing it."""
        if not _MODULE.fullmatch(module):
            return False
        top, *inner = module.split(".")
        if top in sys.stdlib_module_names and (not inner or module in sys.modules):
            return True
        path, name = self._path, top
        for part in (*inner, None):
            spec = PathFinder.find_spec(name, path)
            if spec is None:
                return False
            if part is None:
                return True
            if spec.submodule_search_locations is None:
                return False
            path, name = list(spec.submodule_search_locations), f"{name}.{part}"
        return False

    def python(self, code: str, seconds: float = 60) -> Ran:
        """Run Python code in a process of its own, with the user's interpreter."""
        return self._run([self._python, "-c", code], seconds)

    def command(self, *arguments: str, seconds: float = 20) -> Ran:
        """Run a program that only looks, for example `nvidia-smi`."""
        program = shutil.which(arguments[0]) if arguments else None
        return self._run([program, *arguments[1:]], seconds) if program else Ran(None, "")

    @cached_property
    def _path(self) -> list[str]:
        """Where the user's interpreter looks for modules, the root first."""
        if Path(self._python).resolve() == Path(sys.executable).resolve() and not _elsewhere(self._python):
            path = list(sys.path)
        else:
            try:
                path = [str(entry) for entry in json.loads(self.python(_ASK_PATH).output)]
            except ValueError:
                path = []
        return [str(self._root), *(entry for entry in path if entry)]

    def _run(self, arguments: list[str], seconds: float) -> Ran:
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONIOENCODING": "utf-8", "NO_COLOR": "1"}
        try:
            process = subprocess.Popen(
                arguments,
                cwd=self._root,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=os.name == "posix",
            )
        except OSError as error:
            return Ran(None, str(error))
        kept = bytearray()
        reader = threading.Thread(target=_drain, args=(process.stdout, kept), daemon=True)
        reader.start()
        try:
            code: int | None = process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
            _end(process)
        except BaseException:
            _end(process)
            raise
        reader.join(1)
        return Ran(code, kept[-_KEPT:].decode("utf-8", "replace"))


def _drain(stream: IO[bytes] | None, kept: bytearray) -> None:
    if stream is None:
        return
    with contextlib.suppress(OSError, ValueError), stream:
        while part := os.read(stream.fileno(), 1 << 16):
            kept += part
            if len(kept) > 4 * _KEPT:
                del kept[: -_KEPT * 2]


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and what it started."""
    with contextlib.suppress(OSError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        elif process.poll() is None:
            process.kill()
    process.wait()


def _interpreter() -> str:
    """The Python that the user's `python` is; ours may live in an environment of its own."""
    for folder in active_environments():
        for place in ("bin/python", "Scripts/python.exe", "python.exe"):
            if (folder / place).is_file():
                return str(folder / place)
    tool = "pipx" in sys.prefix or f"{os.sep}uv{os.sep}tools" in sys.prefix
    if sys.prefix != sys.base_prefix and not tool:
        return sys.executable
    return shutil.which("python") or shutil.which("python3") or sys.executable


def _elsewhere(python: str) -> bool:
    """Whether an interpreter belongs to another environment than this process, though it is the same program."""
    return Path(python).parent != Path(sys.executable).parent
