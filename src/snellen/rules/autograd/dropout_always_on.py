"""Dropout stays switched on in evaluation mode.

What happens
------------
The model gives another answer each time for the same image, although `model.eval()` was called. Validation is worse
than training, exported models differ from PyTorch, results cannot be repeated.

Why
---
`model.eval()` sets `module.training` of registered modules. `F.dropout(x, p)` is a function and knows no module: its
`training` argument is `True` unless it is passed. `nn.Dropout(p)(x)` inside `forward` makes a new module, in training
mode, at each call. `F.scaled_dot_product_attention(..., dropout_p=p)` has no such argument and always drops.

How to confirm
--------------
`model.eval()`, then `torch.equal(model(x), model(x))` is `False`.

Fix
---
`F.dropout(x, p, training=self.training)`, or an `nn.Dropout` made in the constructor;
`dropout_p=p if self.training else 0.0` for the attention function.

When it is something else
-------------------------
Monte Carlo dropout keeps it on to measure uncertainty; silence the finding there with a comment. Batch normalisation in
training mode makes answers depend on the batch: see `metric-on-train-mode`.

Sources
-------
- `torch.nn.functional.dropout`: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.dropout.html
- `torch.nn.functional.scaled_dot_product_attention`, its warning on `dropout_p`:
  https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.scaled_dot_product_attention.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.finding import Fix, FixSafety, Level
from snellen.core.rule import Rule, SourceFacet, absent
from snellen.core.source import UNKNOWN, CallSite, Hit, SourceFile, Span

__all__ = ["RULE"]

_FUNCTIONS = frozenset(f"torch.nn.functional.{name}" for name in ("dropout", "dropout1d", "dropout2d", "dropout3d"))
_LAYERS = frozenset(f"torch.nn.{name}.forward" for name in ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d"))
_ATTENTION = "torch.nn.functional.scaled_dot_product_attention"
_ON_PURPOSE = re.compile(r"(?i)\bmc_?dropout|monte.?carlo|uncertaint|stochastic|always|augment|corrupt|noise|perturb")
_REASON = "answers in evaluation mode change, which Monte Carlo dropout relies on"


def _examine(file: SourceFile) -> Iterator[Hit]:
    for call in file.calls:
        if call.name in _FUNCTIONS:
            found = _function(file, call)
        elif call.name in _LAYERS:
            found = _layer(call)
        elif call.name == _ATTENTION:
            found = _attention(file, call)
        else:
            continue
        if found is not None and _in_module(file, call) and not _is_meant(file, call):
            yield found


def _in_module(file: SourceFile, call: CallSite) -> bool:
    """Whether it stands in a method of a class that has a mode."""
    owner = call.function.rpartition(".")[0]
    blocks = {block.name: block for block in file.classes}
    waiting, seen = [owner], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in blocks:
            continue
        seen.add(name)
        for base in blocks[name].bases:
            if base.rpartition(".")[2] in ("Module", "LightningModule", "MessagePassing", "PreTrainedModel"):
                return True
            waiting.append(base)
    return False


def _is_meant(file: SourceFile, call: CallSite) -> bool:
    if any("training" in test for test in call.conditions):
        return True
    block = file.function_around(call.span)
    around = block.code if block is not None else ""
    return _ON_PURPOSE.search(f"{call.function} {around}") is not None


def _function(file: SourceFile, call: CallSite) -> Hit | None:
    # `training=True` in so many words is meant.
    if call.argument(2, "training") is not None or not call.arguments or "*" in call.code.partition("(")[2]:
        return None
    chance = call.argument(1, "p")
    if chance is not None and chance.value == 0:
        return None
    name = call.code.partition("(")[0]
    message = f"`{name}` drops in evaluation mode, too: `training` is True unless it is passed"
    last = call.arguments[-1].span
    edit = file.edit(Span(last.end_line, last.end_column, last.end_line, last.end_column), ", training=self.training")
    return Hit(message, call.span, Fix("Pass `training=self.training`.", FixSafety.UNSAFE, _REASON, (edit,)))


def _layer(call: CallSite) -> Hit | None:
    made = call.receiver_origin
    if made is None or made.through or made.call.function != call.function or call.function.endswith("__init__"):
        return None
    message = f"`{made.call.code}` is made anew at each call, in training mode: it drops in evaluation mode, too"
    return Hit(message, call.span, Fix(f"Make it once in the constructor: `self.dropout = {made.call.code}`."))


def _attention(file: SourceFile, call: CallSite) -> Hit | None:
    chance = call.argument(4, "dropout_p")
    if chance is None or "training" in chance.code or "*" in call.code.partition("(")[2][:1]:
        return None
    fixed = isinstance(chance.value, (int, float)) and chance.value > 0
    settings = re.fullmatch(r"self\.\w*(?:drop|p)\w*", chance.code) is not None and chance.value is UNKNOWN
    if not fixed and not (settings and _stays(file, call, chance.code)):
        return None
    message = f"`dropout_p={chance.code}` drops in evaluation mode, too: the function knows no mode"
    text = f"Pass `dropout_p={chance.code} if self.training else 0.0`."
    edit = file.edit(chance.span, f"{chance.code} if self.training else 0.0")
    return Hit(message, call.span, Fix(text, FixSafety.UNSAFE, _REASON, (edit,)))


def _stays(file: SourceFile, call: CallSite, code: str) -> bool:
    """Whether an attribute is set once, in the constructor, to a plain number or parameter."""
    owner = call.function.rpartition(".")[0]
    given = [a for a in file.assignments if a.target == code and a.function.startswith(f"{owner}.")]
    return len(given) == 1 and given[0].function.endswith("__init__") and given[0].call is None


RULE = Rule(
    slug="dropout-always-on",
    family="autograd",
    title="Dropout is on in evaluation mode",
    level=Level.WARNING,
    log=absent("a model that answers differently each time prints nothing of it"),
    source=SourceFacet(("dropout", "Dropout"), _examine),
    before=absent("which functions a model calls is told by its source only"),
    during=absent("training with dropout is as it should be"),
    module=__name__,
)
