"""Parts of the model that were to be frozen are trained all the same.

What happens
------------
A backbone was frozen in the code, and yet its weights change: fine-tuning forgets what was pretrained, memory and time
are those of full training, and `sum(p.numel() for p in model.parameters() if p.requires_grad)` counts everything. Or
the weights stand still and the network drifts nevertheless, because its batch norm statistics move.

Why
---
Python lets any attribute be set. `param.require_grad = False` (without the s) and `model.requires_grad = False` (on a
module instead of its parameters) make a new attribute that nobody reads; `param.requires_grad == False` compares and
drops the answer. `requires_grad` does not stop the running mean and variance of batch norm, which move in every forward
pass in training mode.

How to confirm
--------------
`print([name for name, p in model.named_parameters() if p.requires_grad])` after freezing. For the statistics: compare
`model.state_dict()` before and after an epoch.

Fix
---
`module.requires_grad_(False)` for a module, `param.requires_grad = False` for a parameter. Where the statistics are to
stay as well, call `.eval()` on the frozen part after every `model.train()`.

When it is something else
-------------------------
Parts that were to be trained and stand still: see `optimizer-misses-parameters`. Weights that never came from a
checkpoint: see `silent-random-weights`.

Sources
-------
- `Module.requires_grad_`: https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html
- Setting `requires_grad`, and evaluation mode beside it:
  https://docs.pytorch.org/docs/stable/notes/autograd.html#locally-disabling-gradient-computation
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.code.networks import frozen_statistics, is_module
from snellen.core.code.training import unwrapped
from snellen.core.finding import Edit, Fix, FixSafety, Level
from snellen.core.rule import Rule, SourceFacet, absent
from snellen.core.source import Assignment, Hit, Origin, SourceFile, Span

__all__ = ["RULE"]

_MISSPELT = frozenset(
    {"require_grad", "requires_grads", "require_grads", "required_grad", "requires_gradient", "require_gradient"}
    | {"requires_gradients", "requies_grad", "reqires_grad", "requres_grad", "requiers_grad", "require_gradients"}
    | {"requires_Grad", "requiresgrad", "requiresGrad", "requires_grade"}
)
_PARAMETERS = (".parameters", ".named_parameters")
_REASON = "what is frozen from now on no longer learns"


def _examine(file: SourceFile) -> Iterator[Hit]:
    if "torch" not in {name.partition(".")[0] for name in file.imports.values()}:
        return
    for item in file.assignments:
        owner, _, attribute = item.target.rpartition(".")
        if not owner or item.operator:
            continue
        if attribute in _MISSPELT:
            yield from _misspelt(file, item, owner, attribute)
        elif attribute == "requires_grad":
            yield from _on_module(file, item, owner)
    yield from _compared(file)
    for call, part in frozen_statistics(file):
        message = (
            f"the parameters of `{part}` are frozen, but `{call.code}` keeps its batch norm in training mode:"
            " the running statistics move all the same"
        )
        yield Hit(message, call.span, Fix(f"Call `{part}.eval()` after `{call.code}`."), level=Level.NOTE)


def _misspelt(file: SourceFile, item: Assignment, owner: str, attribute: str) -> Iterator[Hit]:
    # An attribute of the project's own, which something reads, is none of PyTorch's business.
    if owner == "self" or re.search(rf"(?:\bself|\bargs|\bcfg|\bopt)\.{attribute}\b", file.text):
        return
    known = item.owner is not None and (
        # A tensor that was just made requires no gradient: only asking for one is lost.
        item.owner.name in _PARAMETERS or (item.owner.name.startswith("torch.") and item.value is not False)
    )
    named = re.search(r"(?i)param|weight|\bp$|model|net|backbone|encoder|layer|bias|\[", owner) is not None
    if not (known or named):
        return
    message = f"`{item.target} = {item.code}` sets an attribute that nothing reads: PyTorch's is `requires_grad`"
    start = item.span
    dot = file.text.split("\n")[start.start_line - 1].rfind(f".{attribute}", 0, start.start_column)
    edits: tuple[Edit, ...] = ()
    if dot >= 0:
        place = Span(start.start_line, dot + 1, start.start_line, dot + 1 + len(attribute))
        edits = (file.edit(place, "requires_grad"),)
    text = f"Write `{owner}.requires_grad = {item.code}`."
    yield Hit(message, item.span, Fix(text, FixSafety.UNSAFE, _REASON, edits) if edits else Fix(text))


def _on_module(file: SourceFile, item: Assignment, owner: str) -> Iterator[Hit]:
    # Code that asks what it has before it sets anything knows the difference.
    asked = any("Parameter" in test or "isinstance" in test for test in item.conditions)
    if not isinstance(item.value, bool) or asked or not _is_module(file, item, owner):
        return
    message = (
        f"`{owner}` is a module: `{item.target} = {item.code}` sets an attribute that nothing reads, its parameters"
        " stay as they were"
    )
    text = f"Write `{owner}.requires_grad_({item.code})`."
    line = file.text.split("\n")[item.span.start_line - 1]
    start = line.find(item.target)
    fix = Fix(text)
    if start >= 0 and not line[:start].strip() and not line[item.span.end_column :].strip(" \r"):
        place = Span(item.span.start_line, start, item.span.end_line, item.span.end_column)
        fix = Fix(text, FixSafety.UNSAFE, _REASON, (file.edit(place, f"{owner}.requires_grad_({item.code})"),))
    yield Hit(message, item.span, fix)


def _is_module(file: SourceFile, item: Assignment, owner: str) -> bool:
    origin = unwrapped(item.owner)
    if origin is not None and origin.through in (("[]",), ("[]", "[]")):
        return origin.name in (".children", ".modules", ".named_children", ".named_modules")
    return is_module(file, owner, _whole(origin))


def _whole(origin: Origin | None) -> Origin | None:
    """The call that made the object itself, not something that it is a part of."""
    kept = {"to", "cuda", "cpu", "eval", "train", "float", "half"}
    return origin if origin is not None and kept.issuperset(origin.through) else None


def _compared(file: SourceFile) -> Iterator[Hit]:
    for item in file.idle:
        found = re.fullmatch(r"(?P<what>[\w.\[\]'\"]+\.requires_grad)\s*==\s*(?P<value>True|False)", item.code)
        if item.kind != "comparison" or found is None or (file.is_notebook and item.span.start_column == 0):
            continue
        message = f"`{item.code}` compares and drops the answer: nothing is set"
        edit = file.edit(item.span, f"{found['what']} = {found['value']}")
        text = f"Write `{found['what']} = {found['value']}`."
        yield Hit(message, item.span, Fix(text, FixSafety.UNSAFE, _REASON, (edit,)))


RULE = Rule(
    slug="frozen-not-frozen",
    family="autograd",
    title="What was to be frozen is trained",
    level=Level.ERROR,
    log=absent("a log does not say which parameters were meant to stand still"),
    source=SourceFacet(("require", "reqires", "requres"), _examine),
    before=absent("the tasks freeze whole modules by one call"),
    during=absent("a step does not say which parameters were meant to stand still"),
    module=__name__,
)
