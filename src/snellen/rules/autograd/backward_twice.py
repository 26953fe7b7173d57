"""Two backward passes go through the same graph, and the first one freed it.

What happens
------------
`RuntimeError: Trying to backward through the graph a second time (or directly access saved tensors after they have
already been freed).` Often the first iteration passes and the second one raises.

Why
---
The backward pass frees what the forward pass stored, as it goes. A second pass finds nothing. It comes about when
something of the previous iteration is still part of this loss: a hidden state, a memory bank, an average or a sum of
losses that was never detached, a tensor computed once before the loop from parameters. Or two losses share a part of
the network and each is sent backward (generator and discriminator, a loss for each view).

How to confirm
--------------
If the first iteration passes, something is carried over: print `x.grad_fn` of all that enters the step besides the
batch; it must be `None`. If the first iteration raises, two `backward()` calls share a graph.

Fix
---
Carried over: `state = state.detach()` at the end of the step, `total += loss.item()`, and compute inside the loop what
depends on parameters. Two losses: add them and call `backward()` once, or detach what belongs to the other network
(`discriminator(fake.detach())`). `retain_graph=True` is right only when one graph is meant to be walked twice before
the step; as a cure for something carried over it makes every step slower and larger than the one before.

When it is something else
-------------------------
`modified by an inplace operation` after `retain_graph=True` was added: the weights were stepped in between,
`inplace-modified`. If the loss has no graph at all, the message is `does not require grad`: `no-grad-fn`.

Sources
-------
- `torch.Tensor.backward`: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.backward.html
- How autograd encodes the history: https://docs.pytorch.org/docs/stable/notes/autograd.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.code.training import backwards, loop_around, scope_of
from snellen.core.finding import Evidence, Fix, Level, Location
from snellen.core.log import Log, LogMatch
from snellen.core.logs.messages import find_message
from snellen.core.rule import LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Assignment, CallSite, Hit, Loop, SourceFile

__all__ = ["RULE"]

_MESSAGE = re.compile(
    r"trying to backward through the graph a second time|saved (?:tensors|variables) after they have already been freed"
    r"|saved tensor after it has been freed|the buffers have already been freed",
    re.IGNORECASE,
)
_SUMMED = re.compile(
    r"\b(?P<name>[A-Za-z_]\w*loss\w*|loss\w*)\s*\+=|\b(?P<name2>\w*loss\w*)\s*=\s*(?P=name2)\s*\+", re.IGNORECASE
)
_STATE = re.compile(r"\b(?P<name>hidden\w*|state\w*|h_?[tn0]?|memory\w*|queue\w*|prev\w*|h_prev|cell\w*)\b\s*[,=)]")
_STEP = re.compile(
    r"\b(?:iter(?:ation)?|step|it)\b\D{0,4}(\d+)|(?<!\d)(\d{1,9})/\d{1,9} \[|\| (\d{1,9})/\d", re.IGNORECASE
)


def _examine(log: Log) -> LogMatch | None:
    said = find_message(log, _MESSAGE)
    if said is None:
        return None
    codes = [frame.code for frame in said.error.frames if not frame.in_library] if said.error is not None else []
    text = "\n".join([*codes, *(line.text for line in log.lines)])
    cause, fix = _explanation(log, text)
    return LogMatch(0.96 if said.first else 0.8, said.facts, f"{cause}{said.place}.", Fix(fix))


def _explanation(log: Log, text: str) -> tuple[str, str]:
    summed, state = _SUMMED.search(text), _STATE.search(text)
    if log.search(r"DataParallel|parallel_apply|replica") is not None:
        return (
            "The graph of a replica was walked twice",
            (
                "Train on one GPU first (`CUDA_VISIBLE_DEVICES=0`); if that passes, `DataParallel` shares a tensor "
                "between its replicas: use `DistributedDataParallel`, or compute the shared tensor in each forward "
                "pass."
            ),
        )
    if re.search(r"discriminator|generator|loss_[gd]\b|\b[dg]_loss|netd|netg|critic", text, re.IGNORECASE):
        return (
            "The losses of two networks share a graph, and the first backward pass freed it",
            "Give the discriminator `fake.detach()`, or compute the generator's loss from a new forward pass.",
        )
    if summed:
        name = summed["name"] or summed["name2"]
        return (
            f"The loss may hold the graph of an earlier step: `{name}` is added up",
            f"If `{name}` is set to 0 only before the loop, set it inside; a sum for the log takes `loss.item()`.",
        )
    if state:
        name = state["name"]
        return (
            f"`{name}` may carry the graph of the step before",
            f"Detach it at the end of the step: `{name} = {name}.detach()` (each tensor of a tuple).",
        )
    begun = log.search(_STEP.pattern) is not None
    first = "The run had passed steps before, so something is carried over" if begun else "A graph was walked twice"
    return (
        first,
        (
            "Look for a tensor that outlives the step (hidden state, memory, running average, sum of losses, an "
            "embedding computed before the loop) and detach it or compute it anew in each step. Two losses of one "
            "graph: add them and call `backward()` once. Do not add `retain_graph=True` before that."
        ),
    )


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    found = [b for b in backwards(file) if b.how != "delegated" and not _retains(b.call)]
    seen: dict[tuple[str, str], CallSite] = {}
    for backward in found:
        call, loss = backward.call, backward.loss
        if not re.fullmatch(r"[A-Za-z_]\w*", loss):
            continue
        earlier = seen.get((call.function, loss))
        if earlier is not None and _straight(file, earlier, call, loss):
            place = Location(file.path, earlier.span.start_line, earlier.span.start_column + 1)
            message = f"`{loss}` is sent backward a second time; the first pass freed its graph"
            fix = Fix("Call `backward()` once on the sum, or `retain_graph=True` in the first if both are meant.")
            yield Hit(message, call.span, fix, (Evidence(earlier.code, place),))
        seen[call.function, loss] = call
        loop = loop_around(file, call.span)
        if loop is not None:
            yield from _carried(file, loop, call, loss)


def _retains(call: CallSite) -> bool:
    given = call.argument(1, "retain_graph") or call.argument(99, "create_graph")
    return given is not None and given.value is not False


def _straight(file: SourceFile, first: CallSite, second: CallSite, loss: str) -> bool:
    """Whether the second follows the first on the same path, and the loss is not computed anew in between."""
    if first.conditions != second.conditions or loop_around(file, first.span) != loop_around(file, second.span):
        return False
    tried = [block for block in file.tries if any(c.span in (first.span, second.span) for c in block.tried)]
    anew = any(
        _sets(item, loss) and first.span.start < item.span.start < second.span.start for item in file.assignments
    )
    return not tried and not anew


def _sets(item: Assignment, name: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", item.target) is not None


def _carried(file: SourceFile, loop: Loop, call: CallSite, loss: str) -> Iterator[Hit]:
    """A sum over all iterations, or a state handed on, whose graph the pass before has freed."""
    scope = scope_of(file, call.span)
    here = [a for a in file.assignments if scope.contains(a.span)]
    inside = [a for a in here if loop.span.contains(a.span)]
    sums = [a for a in inside if a.target == loss and _adds_to_itself(a, loss)]
    plain = [a for a in inside if _sets(a, loss) and not _adds_to_itself(a, loss)]
    begun = [a for a in here if a.target == loss and a.span.start < loop.span.start]
    if sums and not plain and begun and not _cleared(file, loop, loss) and not call.conditions:
        item = sums[0]
        place = Location(file.path, begun[-1].span.start_line, begun[-1].span.start_column + 1)
        message = f"`{loss}` adds up over the loop and is sent backward in it: the second pass meets a freed graph"
        fix = Fix(
            f"Call `backward()` on the loss of this step, and keep the sum for the log: `{loss} += step_loss.item()`; "
            f"or set `{loss} = 0` at the top of the loop."
        )
        yield Hit(message, item.span, fix, (Evidence(f"{loss} = {begun[-1].code}", place),))
    for item in inside:
        name = _handed_on(item, inside, here, loop)
        if name is not None and not call.conditions and not _cleared(file, loop, name):
            message = f"`{name}` carries the graph of one step into the next; its backward pass has freed it"
            text = f"Detach it at the end of the step: `{name} = {name}.detach()` (each tensor of a tuple)."
            yield Hit(message, item.span, Fix(text))


def _adds_to_itself(item: Assignment, name: str) -> bool:
    return item.operator == "+" or re.match(rf"{re.escape(name)}\s*\+", item.code) is not None


def _cleared(file: SourceFile, loop: Loop, name: str) -> bool:
    text = "\n".join(file.text.split("\n")[loop.span.start_line - 1 : loop.span.end_line])
    word = re.escape(name)
    return (
        re.search(rf"\b{word}\.(?:detach|data|zero_)|detach\w*\({word}|del {word}\b|for \w+ in {word}\b", text)
        is not None
    )


def _handed_on(item: Assignment, inside: list[Assignment], here: list[Assignment], loop: Loop) -> str | None:
    """The state of `out, state = rnn(x, state)`, when nothing else sets it in the loop."""
    names = re.findall(r"[A-Za-z_]\w*", item.target)
    if item.call is None or len(names) != 2 or item.operator or item.conditions:
        return None
    state = names[1]
    layer = re.search(
        r"\.(?:RNN|LSTM|GRU|LSTMCell|GRUCell|RNNCell)\.forward$|^torch\.nn\.(?:RNN|LSTM|GRU)", item.call.name
    )
    given = any(argument.code == state for argument in item.call.arguments)
    again = sum(_sets(other, state) for other in inside) > 1
    before = any(_sets(other, state) and other.span.start < loop.span.start for other in here)
    return state if layer and given and not again and before else None


RULE = Rule(
    slug="backward-twice",
    family="autograd",
    title="A second backward pass through a graph that was freed",
    level=Level.ERROR,
    log=LogFacet(("backward through the graph", "already been freed", "has been freed"), _examine),
    source=SourceFacet(("backward",), _examine_source),
    before=absent("what is carried from step to step is written in the code, not in the plan"),
    during=absent("the exception comes before the step ends"),
    module=__name__,
)
