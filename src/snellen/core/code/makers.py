"""Which call a value came from, where a function's text leaves only one possibility."""

from __future__ import annotations

import re

from snellen.core.source import Argument, Assignment, CallSite, SourceFile, Span

__all__ = ["Makers"]

_NAME = re.compile(r"[A-Za-z_]\w*")


class Makers:
    """Finds the call that made a value: the call written in its place, or the one whose result its name holds.

    Unlike `Origin` it tells every step apart, so that the arguments of a `view` or a `permute` on the way are known.
    """

    def __init__(self, file: SourceFile) -> None:
        self._calls = {call.span: call for call in file.calls}
        self._starts: dict[tuple[int, int], list[CallSite]] = {}
        for call in file.calls:
            self._starts.setdefault(call.span.start, []).append(call)
        self._assignments: dict[str, list[Assignment]] = {}
        for assignment in file.assignments:
            self._assignments.setdefault(assignment.function, []).append(assignment)
        self._looped: dict[str, list[str]] = {}
        for loop in file.loops:
            self._looped.setdefault(loop.function, []).append(loop.target)

    def of_argument(self, argument: Argument, call: CallSite) -> CallSite | None:
        """The call that made an argument of a call."""
        return self._calls.get(argument.span) or self._held(argument.code, call)

    def of_receiver(self, call: CallSite) -> CallSite | None:
        """The call that made what a method is called on."""
        if call.receiver is None:
            return None
        written = [other for other in self._starts[call.span.start] if other.code == call.receiver]
        return written[0] if written else self._held(call.receiver, call)

    def assignment(self, name: str, function: str, before: Span) -> Assignment | None:
        """The last assignment to a name in a function before a place, when nothing else can have changed it."""
        if not _NAME.fullmatch(name):
            return None
        word = re.compile(rf"(?<![\w.]){name}(?!\w)")
        earlier = [
            item
            for item in self._assignments.get(function, ())
            if word.search(item.target) and item.span.end <= before.start
        ]
        if not earlier or any(word.search(target) for target in self._looped.get(function, ())):
            return None
        last = max(earlier, key=lambda item: item.span.start)
        return None if last.conditions or last.operator or last.target != name else last

    def _held(self, name: str, call: CallSite) -> CallSite | None:
        last = self.assignment(name, call.function, call.span)
        return last.call if last is not None else None
