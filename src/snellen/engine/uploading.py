"""Curves to Weights & Biases, from outside the run.

Training writes `metrics.jsonl` and nothing else. Another process reads that file and talks to the server, so a server
that hangs, dies or refuses costs the run nothing; what was not uploaded, `snellen sync` uploads at any later time.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from snellen.core.files import read_json, read_json_lines, write_json
from snellen.core.run_folder import RunFolder
from snellen.core.tracker import why_not_online
from snellen.errors import MissingExtraError, RunFolderError, SnellenError

__all__ = ["Upload", "UploadError", "Uploader", "sync_run"]

_STATE: Final = "wandb.json"
_LOG: Final = "wandb.log"
_POLL_SECONDS: Final = 2.0
_GRACE_SECONDS: Final = 15.0


class UploadError(SnellenError):
    """The server did not take the curves; the run's own files are whole."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Upload:
    """What was uploaded.

    Args:
        lines: Lines of `metrics.jsonl` in this call.
        before: Lines that were uploaded earlier.
        address: Where to look at them, `""` when the server does not say.
    """

    lines: int
    before: int
    address: str = ""


class Uploader:
    """Uploads the curves of a run while it goes on, in a process of its own.

    Args:
        folder: The run's folder.
        project: Of Weights & Biases.

    Use it as a context; leaving it waits a few seconds for what is left, and no longer.
    """

    def __init__(self, folder: Path, *, project: str) -> None:
        self._folder = folder
        self._command = [sys.executable, "-m", "snellen", "sync", str(folder), "--project", project, "--follow"]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Uploader:
        with contextlib.suppress(OSError):
            log = (self._folder / _LOG).open("ab")
            with log:
                self._process = subprocess.Popen(
                    self._command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
                )
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> str:
        """End it; gives why not everything was uploaded, `""` when it was."""
        process, self._process = self._process, None
        if process is None:
            return "it could not be started"
        if process.stdin is not None:
            # The end of its input tells it that the run has ended.
            with contextlib.suppress(OSError):
                process.stdin.close()
        try:
            code = process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return f"the server did not answer within {_GRACE_SECONDS:.0f} seconds"
        return "" if code == 0 else f"see {self._folder / _LOG}"


def sync_run(
    path: str | Path,
    *,
    project: str = "snellen",
    entity: str | None = None,
    patience: float = 60.0,
    follow: IO[str] | None = None,
) -> Upload:
    """Upload the curves of a run that are not uploaded yet.

    Args:
        path: The run's folder.
        project: Of Weights & Biases.
        entity: User or team; the key's own without it.
        patience: Seconds that the server may take to answer.
        follow: Go on uploading what is written until this stream ends.

    Raises:
        RunFolderError: No run's folder, or it has no curves.
        MissingExtraError: wandb is not installed.
        UploadError: The server cannot be reached, refuses, or takes too long.
    """
    folder = RunFolder(Path(path).absolute())
    if not folder.run_file.is_file():
        raise RunFolderError(f"{path} is no run's folder", hint="snellen sync runs/NAME")
    reason = why_not_online()
    if reason == "wandb is not installed":
        raise MissingExtraError(reason, hint="pip install 'snellen[wandb]'", slug="missing-package")
    if reason:
        raise UploadError(f"nothing was uploaded: {reason}", slug="tracker-network")
    state = read_json(folder.path / _STATE) if (folder.path / _STATE).is_file() else {}
    before = int(state.get("lines", 0))
    if follow is None and before >= sum(1 for _ in read_json_lines(folder.metrics_file)):
        return Upload(0, before, str(state.get("address", "")))
    try:
        return _upload(folder, state, project, entity, patience, follow)
    except SnellenError:
        raise
    except Exception as error:
        raise UploadError(
            f"the server did not take the curves: {type(error).__name__}: {error}",
            hint=f"they are safe in {folder.metrics_file}; try again later: snellen sync {path}",
            slug="tracker-network",
        ) from error


def _upload(
    folder: RunFolder,
    state: Mapping[str, Any],
    project: str,
    entity: str | None,
    patience: float,
    follow: IO[str] | None,
) -> Upload:
    # Crash reports go to another server than the one that was asked for.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb  # noqa: PLC0415 - an extra

    before = int(state.get("lines", 0))
    name = str(state.get("id") or uuid.uuid4().hex[:8])
    settings = wandb.Settings(
        init_timeout=patience,
        finish_timeout=patience,
        finish_timeout_raises=True,
        console="off",
        silent=True,
        # The curves and the settings, as asked for; nothing else of this machine.
        save_code=False,
        disable_git=True,
        x_disable_meta=True,
        x_disable_stats=True,
    )
    run = wandb.init(
        project=str(state.get("project") or project),
        entity=entity,
        id=name,
        name=folder.path.name,
        dir=str(folder.path),
        config={"run": folder.run_file.read_text(encoding="utf-8")},
        resume="allow",
        settings=settings,
    )
    lines = before
    for record in _records(folder, before, follow):
        step = int(record.get("step", 0))
        run.log(_numbers(record), step=step)
        lines += 1
    run.finish()
    address = str(getattr(run, "url", "") or "")
    write_json(folder.path / _STATE, {"id": name, "project": project, "lines": lines, "address": address})
    return Upload(lines - before, before, address)


def _records(folder: RunFolder, skip: int, follow: IO[str] | None) -> Iterator[Mapping[str, Any]]:
    """Lines of the curves behind the first `skip`; with `follow` also those to come until it ends."""
    done = skip
    while True:
        ended = follow is None or _has_ended(follow)
        for index, record in enumerate(read_json_lines(folder.metrics_file)):
            if index >= done:
                done = index + 1
                yield record
        if ended:
            return


def _has_ended(stream: IO[str]) -> bool:
    started = time.monotonic()
    readable, _, _ = select.select([stream], [], [], _POLL_SECONDS)
    if readable:
        return not stream.read(1)
    # A platform whose streams cannot be waited for.
    time.sleep(max(0.0, _POLL_SECONDS - (time.monotonic() - started)))
    return False


def _numbers(record: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a line by names such as `train/loss`; a NaN is a curve of its own, so that it cannot hide."""
    kind = str(record.get("kind", "train"))
    found: dict[str, float] = {}

    def collect(prefix: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for name, item in value.items():
                collect(f"{prefix}/{name}", item)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found[prefix] = float(value)

    for name, value in record.items():
        if name not in {"kind", "step", "non_finite"}:
            collect(f"{kind}/{name}", value)
    found |= {f"non_finite/{kind}/{name}": 1.0 for name in record.get("non_finite", ())}
    return found
