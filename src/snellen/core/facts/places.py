"""Folders that a run writes to, and what can be reached over the network."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["HubFacts", "PlaceFacts", "TrackerFacts"]


@dataclass(frozen=True, slots=True)
class PlaceFacts:
    """A folder that a run writes to.

    Args:
        key: What names it: a key path such as `output`, or an environment variable such as `HF_HOME`.
        path: The folder.
        nearest: The folder itself, or the nearest one above it that exists.
        answers: Whether the file system answered in time; when not, nothing else is known.
        writable: Whether a file could be made there; `None` when that was not tried.
        problem: Why not, in the system's words.
        kind: Kind of file system, such as `ext4`, `nfs4`, `overlay`, `tmpfs`; `""` when unknown.
        mount: Where that file system is mounted.
        network: Whether it lies on another machine.
        in_memory: Whether what is written there takes main memory and is lost at the next start.
        total_bytes: Its size.
        free_bytes: What a user may still write.
        quota_bytes: What the user's quota leaves, `None` without one or where no `quota` can be asked.
        free_files: How many files may still be made, `None` where they are not counted.
    """

    key: str
    path: str
    nearest: str
    answers: bool = True
    writable: bool | None = None
    problem: str = ""
    kind: str = ""
    mount: str = ""
    network: bool = False
    in_memory: bool = False
    total_bytes: int | None = None
    free_bytes: int | None = None
    quota_bytes: int | None = None
    free_files: int | None = None


@dataclass(frozen=True, slots=True)
class HubFacts:
    """The hub that weights would be fetched from, asked only when the run needs it.

    Args:
        wanted: Name of the model whose weights the run fetches.
        key: Key path that decides it.
        endpoint: Address of the hub.
        cached: Folders of the local cache that hold files of that model.
        cache: The local cache.
        offline: The variable that forbids asking the hub, `""` when none does.
        proxy: Host and port of a proxy on the way, `""` without one.
        token: Whether a token is there; its value is never read into facts.
        reached: Whether a connection could be made; `None` when it was not tried.
        reason: Why it could not, or was not.
    """

    wanted: str
    key: str
    endpoint: str
    cached: tuple[str, ...] = ()
    cache: str = ""
    offline: str = ""
    proxy: str = ""
    token: bool = False
    reached: bool | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TrackerFacts:
    """The server that a run's curves are uploaded to, asked only when the run wants it.

    Args:
        key: Key path that decides it.
        address: Of the server.
        problem: Why nothing can be uploaded from here, `""` when it can.
    """

    key: str
    address: str
    problem: str = ""
