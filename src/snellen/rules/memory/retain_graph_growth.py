"""A loss is summed or kept with the graph that it was computed from.

What happens
------------
Memory grows by a little with every batch, and the epoch ends with `CUDA out of memory` although the first batches fit;
or `total_loss` prints as `tensor(512.3, grad_fn=<AddBackward0>)`.

Why
---
A loss is a tensor that refers to the operation that made it, that one to its inputs, and so on down to the batch.
`backward()` frees what those operations had saved, not the operations themselves, and nothing at all when it is not
called on that term. A sum over the epoch refers to all of its terms, so that the graphs of all batches stay until the
sum goes.

How to confirm
--------------
`print(total_loss.requires_grad)` is True. `torch.cuda.memory_allocated()` after each batch grows.

Fix
---
`total_loss += loss.item()` for a number, `loss.detach()` where a tensor is wanted (it does not wait for the device).

When it is something else
-------------------------
Terms that are summed in order to call `backward()` on the sum must keep their graphs: several losses of one batch, the
steps of an unrolled network. Outputs kept in lists are `outputs-kept-on-device`.

Sources
-------
- PyTorch FAQ, "Don't accumulate history across your training loop": https://docs.pytorch.org/docs/stable/notes/faq.html
- `torch.Tensor.detach`: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.detach.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.code.training import Backward, backwards, loop_around, scope_of
from snellen.core.finding import Edit, Fix, FixSafety, Level
from snellen.core.rule import Rule, SourceFacet, absent
from snellen.core.source import Assignment, Hit, Loop, SourceFile, Span

__all__ = ["RULE"]

_TERM = re.compile(r"[A-Za-z_][\w.]*(?:\[[\w'\"]{1,40}\])?")
_CUT = re.compile(r"\.(?:item|detach|data|cpu|numpy|tolist)\b|\bfloat\(|\bint\(|\.detach_\b")
_SCALED = re.compile(
    r"(?P<term>[A-Za-z_][\w.]*(?:\[[\w'\"]{1,40}\])?)(?:\.(?:mean|sum)\(\))?"
    r"(?:\s*[*/]\s*(?:[A-Za-z_][\w.]*(?:\([\w.]*\))?(?:\[\w{1,20}\])?|\d[\d.e]*))?"
)
_KEEPS = frozenset({"append", "extend", "add"})


def _examine(file: SourceFile) -> Iterator[Hit]:
    seen: set[Span] = set()
    for backward in backwards(file):
        batches = loop_around(file, backward.call.span)
        if batches is None:
            continue
        scope = scope_of(file, backward.call.span)
        losses = _losses(file, backward, batches)
        for hit in (*_sums(file, batches, scope, losses), *_lists(file, batches, scope, losses)):
            if hit.span not in seen:
                seen.add(hit.span)
                yield hit


def _losses(file: SourceFile, backward: Backward, batches: Loop) -> set[str]:
    """Names of what is differentiated in a loop, and of the terms that it is put together from there."""
    names = {match[0] for match in _TERM.finditer(backward.loss) if _is_value(backward.loss, match)}
    for _ in range(3):
        for item in file.assignments:
            inside = batches.span.contains(item.span)
            if inside and item.target in names and not item.operator and not _CUT.search(item.code):
                summed = item.call is None and re.search(r"[+]", item.code)
                names |= {m[0] for m in _TERM.finditer(item.code) if _is_value(item.code, m)} if summed else set()
    # Only what is itself made in the loop has a graph of this batch.
    made = {name for item in file.assignments if batches.span.contains(item.span) for name in _targets(item)}
    return {name for name in names if name.partition("[")[0] in made}


def _is_value(code: str, match: re.Match[str]) -> bool:
    return not code[match.end() :].lstrip().startswith("(") and not match[0][0].isdigit()


def _targets(item: Assignment) -> set[str]:
    if "[" in item.target or (item.call is None and re.fullmatch(r"[\d.\s]+|\[\]|None", item.code)):
        return set()
    return set(re.findall(r"[A-Za-z_][\w.]*", item.target))


# -- sums --------------------------------------------------------------------------------------------------------------


def _sums(file: SourceFile, batches: Loop, scope: Span, losses: set[str]) -> Iterator[Hit]:
    for item in file.assignments:
        if not batches.span.contains(item.span) or item.function != batches.function:
            continue
        term = _term(item)
        if term is None or term not in losses or _guarded(file, item.span):
            continue
        if _made_plain(file, term, batches, item.span):
            continue
        total = item.target
        if total == term or _differentiated(file, total, scope) or not _outlives(file, total, batches, scope):
            continue
        if any(total.partition("[")[0] == name for name in losses):
            continue
        yield _hit(file, item.span, item.code, term, f"`{total}` adds up `{term}`", total)


def _term(item: Assignment) -> str | None:
    """The loss that is added: `total += loss`, `total = total + loss * n`."""
    code = item.code
    if item.operator != "+":
        together = re.fullmatch(rf"{re.escape(item.target)}\s*\+\s*(?P<rest>[^+]+)", code)
        other = re.fullmatch(rf"(?P<rest>[^+]+?)\s*\+\s*{re.escape(item.target)}", code)
        found = together or other
        if item.operator or found is None:
            return None
        code = found["rest"].strip()
    if _CUT.search(code):
        return None
    scaled = _SCALED.fullmatch(code.strip("() ") if code.startswith("(") else code)
    return scaled["term"] if scaled else None


def _outlives(file: SourceFile, name: str, batches: Loop, scope: Span) -> bool:
    """Whether a sum or list is begun outside of the loop and not begun anew in it."""
    base = name.partition("[")[0]
    begun = [item for item in file.assignments if item.target in (name, base) and not item.operator]
    begun = [item for item in begun if base not in _words(item.code)]
    inside = [item for item in begun if batches.span.contains(item.span)]
    outside = [item for item in begun if not batches.span.contains(item.span)]
    own = [item for item in outside if scope.contains(item.span) or "." in base or not item.function]
    return bool(own) and not inside


def _differentiated(file: SourceFile, name: str, scope: Span) -> bool:
    """Whether a sum or a list is put to use in a backward pass, by itself or through what is made of it."""
    reached = {name.partition("[")[0]}
    for _ in range(4):
        for item in file.assignments:
            if scope.contains(item.span) and reached & _words(item.code) and not _CUT.search(item.code):
                reached |= _words(item.target) - {"self"}
    return any(scope.contains(b.call.span) and reached & _words(b.loss) for b in backwards(file))


def _made_plain(file: SourceFile, term: str, batches: Loop, use: Span) -> bool:
    """Whether the name holds a plain number by then: `loss = loss.item()`."""
    return any(
        item.target == term
        and _CUT.search(item.code)
        and batches.span.contains(item.span)
        and item.span.end <= use.start
        for item in file.assignments
    )


def _words(code: str) -> set[str]:
    return {match[0] for match in re.finditer(r"(?:self\.)?[A-Za-z_]\w*", code)}


# -- lists -------------------------------------------------------------------------------------------------------------


def _lists(file: SourceFile, batches: Loop, scope: Span, losses: set[str]) -> Iterator[Hit]:
    for call in file.calls_in(batches.span):
        kept = call.method in _KEEPS and call.name.startswith(".") and len(call.arguments) == 1
        if not kept or call.receiver is None or call.function != batches.function:
            continue
        argument = call.arguments[0]
        scaled = _SCALED.fullmatch(argument.code)
        if scaled is None or scaled["term"] not in losses or _CUT.search(argument.code) or _guarded(file, call.span):
            continue
        if _differentiated(file, call.receiver, scope) or not _outlives(file, call.receiver, batches, scope):
            continue
        if _cleared(file, call.receiver, batches) or _made_plain(file, scaled["term"], batches, call.span):
            continue
        message = f"`{call.receiver}` keeps `{scaled['term']}`"
        yield _hit(file, argument.span, argument.code, scaled["term"], message, call.receiver)


def _cleared(file: SourceFile, name: str, batches: Loop) -> bool:
    """Whether a list is emptied in the loop, or has a fixed length."""
    calls = file.calls_in(batches.span)
    if any(call.receiver == name and call.method in ("clear", "pop", "popleft") for call in calls):
        return True
    return any(item.target == name and "deque(" in item.code for item in file.assignments)


def _guarded(file: SourceFile, span: Span) -> bool:
    around = (block for block in file.withs if block.span.contains(span))
    return any("no_grad" in item or "inference_mode" in item for block in around for item in block.items)


def _hit(file: SourceFile, span: Span, code: str, term: str, what: str, total: str) -> Hit:
    found = re.search(rf"(?<![\w.]){re.escape(term)}(?!\w)", code)
    edits: tuple[Edit, ...] = ()
    if "\n" not in code and found is not None:
        column = span.start_column + found.end()
        place = Span(span.start_line, column, span.start_line, column)
        edits = (file.edit(place, ".detach()"),) if _at(file, span, code) else ()
    return Hit(
        f"{what} with its graph, batch after batch: what was computed for it stays in memory",
        span,
        Fix(
            f"Write `{term}.detach()`, or `{term}.item()` where `{total}` is to be a plain number.",
            FixSafety.SAFE if edits else FixSafety.MANUAL,
            "the value stays what it is, and no gradient is computed from it",
            edits=edits,
        ),
    )


def _at(file: SourceFile, span: Span, code: str) -> bool:
    """Whether the text of a place is what it is thought to be: of `total = total + loss` the whole right side."""
    line = re.split(r"\r\n|\r|\n", file.text)[span.start_line - 1]
    return line[span.start_column : span.start_column + len(code)] == code


RULE = Rule(
    slug="retain-graph-growth",
    family="memory",
    title="A loss is summed with its graph",
    level=Level.WARNING,
    log=absent("what it leads to in a log is a rule of its own: memory-leak"),
    source=SourceFacet((".backward(", "autograd.backward", "manual_backward"), _examine),
    before=absent("the code of a run is read by lint, which the check asks"),
    during=absent("growing memory of a running job is watched by memory-leak"),
    module=__name__,
)
