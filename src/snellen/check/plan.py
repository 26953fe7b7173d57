"""A run before it starts: facts by name, each computed once and only when somebody asks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextvars import ContextVar, copy_context
from pathlib import Path
from typing import Any

from snellen.core.plan import FactUnavailable, NotApplicable, Plan
from snellen.errors import SnellenError

__all__ = ["Notify", "Provider", "RunPlan"]

Provider = Callable[[Plan], Any]
"""Computes one fact; it may ask the plan for others."""

Notify = Callable[[str, int, int], None]
"""Is told what is going on, how many are done, and of how many (0: nobody knows)."""

_ASKING: ContextVar[tuple[str, ...]] = ContextVar("snellen_asking", default=())
"""The facts that are being computed, each for the one before it. A given-up thread must not tangle those of others."""

_POLL_SECONDS = 0.25
_IDLE_SECONDS = 0.05
"""Of processor time within the patience: a thread that takes less than that waits for a disk or a network."""


class RunPlan:
    """What is known of a run; implements `snellen.core.plan.Plan`.

    Args:
        root: The folder that relative paths start from.
        path: The run file, `None` for a run made in Python.
        settings: Its keys and values as plain nested data.
        lines: Line of each key path.
        providers: Fact name to the function that computes it.
        notify: Is told how far long facts are.
        unknown: Why a fact that nobody provides cannot be had.
        patience: Facts that touch disks, mounts or the network, and the seconds after which one that neither ends
            nor tells how far it is has hung: it is given up, and the rest goes on.

    Example:
        >>> plan = RunPlan(root=Path("."), providers={"half": lambda plan: 21, "all": lambda p: 2 * p.fact("half")})
        >>> plan.fact("all")
        42
    """

    def __init__(
        self,
        *,
        root: Path,
        path: Path | None = None,
        settings: Mapping[str, Any] | None = None,
        lines: Mapping[str, int] | None = None,
        providers: Mapping[str, Provider] | None = None,
        notify: Notify | None = None,
        unknown: str = "",
        patience: Mapping[str, float] | None = None,
    ) -> None:
        self._root = root
        self._path = path
        self._settings = settings or {}
        self._lines = lines or {}
        self._providers = dict(providers or {})
        self._answers: dict[str, Any] = {}
        self._refusals: dict[str, tuple[str, str | None, str | None]] = {}
        self._notify = notify
        self._unknown = unknown
        self._patience = dict(patience or {})
        self._heard = time.monotonic()

    @property
    def path(self) -> Path | None:
        """The run file."""
        return self._path

    @property
    def root(self) -> Path:
        """The folder that relative paths start from."""
        return self._root

    @property
    def settings(self) -> Mapping[str, Any]:
        """The run file as plain nested data."""
        return self._settings

    def line_of(self, key: str) -> int | None:
        """The line on which a key path stands."""
        return self._lines.get(key)

    def notify(self, what: str, done: int = 0, total: int = 0) -> None:
        """Tell whoever waits how far a long fact is."""
        self._heard = time.monotonic()
        if self._notify is not None:
            self._notify(what, done, total)

    def answered(self, name: str) -> Any:
        """The fact of that name if a check has asked for it and got it, else `None`; nothing is computed."""
        return self._answers.get(name)

    def refused(self, name: str) -> str:
        """Why the fact of that name could not be had when a check asked for it; `""` otherwise."""
        return self._refusals[name][0] if name in self._refusals else ""

    def fact(self, name: str) -> Any:
        """The fact of that name, computed once; a refusal is remembered, too.

        Raises:
            FactUnavailable: Nobody provides it, or computing it failed; the message says why.
        """
        if name in self._answers:
            return self._answers[name]
        if name not in self._refusals:
            try:
                self._answers[name] = self._compute(name)
                return self._answers[name]
            except FactUnavailable as answer:
                self._refusals[name] = (str(answer), answer.hint, answer.slug)
        message, hint, slug = self._refusals[name]
        raise FactUnavailable(message, hint=hint, slug=slug)

    def _compute(self, name: str) -> Any:
        provider = self._providers.get(name)
        if provider is None:
            raise FactUnavailable(self._unknown or f"nothing here tells the {name.replace('_', ' ')} of this run")
        asking = _ASKING.get()
        if name in asking:
            raise FactUnavailable(f"{' needs '.join([*asking, name])}: a circle")
        token = _ASKING.set((*asking, name))
        try:
            if name in self._patience:
                return self._guarded(name, provider, self._patience[name])
            return provider(self)
        except FactUnavailable:
            raise
        except NotApplicable as answer:
            raise FactUnavailable(str(answer)) from answer
        except ImportError as error:
            raise FactUnavailable(f"{error.name or error} is not installed") from error
        except SnellenError as error:
            raise FactUnavailable.because(error) from error
        except Exception as error:  # one fact that fails must not take the other checks with it
            what = name.replace("_", " ")
            raise FactUnavailable(f"the {what} could not be had: {type(error).__name__}: {error}") from error
        finally:
            _ASKING.reset(token)

    def _guarded(self, name: str, provider: Provider, patience: float) -> Any:
        """Compute a fact in a thread of its own, which can be left behind: a read from a dead mount never returns."""
        outcome: Future[Any] = Future()
        context = copy_context()
        clocks: list[int] = []

        def work() -> None:
            clocks.extend(_own_clock())
            try:
                outcome.set_result(context.run(provider, self))
            except BaseException as error:  # noqa: BLE001 - handed over to the thread that waits
                outcome.set_exception(error)

        self._heard = time.monotonic()
        worked = 0.0
        threading.Thread(target=work, name=f"fact {name}", daemon=True).start()
        while True:
            try:
                return outcome.result(timeout=min(_POLL_SECONDS, patience))
            except TimeoutError:
                if outcome.done():
                    raise
                if (now := _seconds_worked(clocks)) - worked > _IDLE_SECONDS:
                    worked, self._heard = now, time.monotonic()  # it computes: a million names take their time
                if time.monotonic() - self._heard > patience:
                    what = name.replace("_", " ")
                    message = f"the {what} did not answer for {patience:.0f} s: a disk or a network that hangs"
                    raise FactUnavailable(message) from None


def _own_clock() -> tuple[int, ...]:
    """The clock that counts the processor time of this thread, where the system has one."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return ()
    return (time.pthread_getcpuclockid(threading.get_ident()),)


def _seconds_worked(clocks: Sequence[int]) -> float:
    try:
        return time.clock_gettime(clocks[0]) if clocks else 0.0
    except OSError:  # the thread has ended
        return 0.0
