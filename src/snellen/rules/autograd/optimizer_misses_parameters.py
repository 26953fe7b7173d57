"""Some parameters are not known to the optimiser: they keep their random values.

What happens
------------
Training runs and the loss falls a little, or not at all: a new head, some of the layers or what was unfrozen later
never changes. There is no error, because the rest of the model has gradients and is updated.

Why
---
An optimiser holds the tensors that it was given when it was made. A layer that replaces another one afterwards
(`model.fc = nn.Linear(...)`) is not among them, nor is what was filtered out because it was frozen then. And a module
in a plain list or dictionary (`self.layers = [nn.Linear(...)]`) is not registered: `model.parameters()` does not yield
it, `model.to(device)` does not move it, `state_dict()` does not save it.

How to confirm
--------------
`known = {id(p) for g in optimizer.param_groups for p in g["params"]}`, then
`[name for name, p in model.named_parameters() if id(p) not in known]`. For lists: `print(model)` does not show the
layers.

Fix
---
Make the optimiser after the model is complete. Use `nn.ModuleList` or `nn.ModuleDict` for modules. Add what is unfrozen
later with `optimizer.add_param_group({"params": ...})`.

When it is something else
-------------------------
Parameters that are known and have no gradient: see `detached-loss`. Layers that were to stand still and do not are
`frozen-not-frozen`. A module kept in a list of one element to hide it from `parameters()` is a known trick and is left
alone.

Sources
-------
- Constructing an optimiser: https://docs.pytorch.org/docs/stable/optim.html#constructing-it
- `ModuleList`: https://docs.pytorch.org/docs/stable/generated/torch.nn.ModuleList.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.code.networks import is_module, module_classes
from snellen.core.code.training import backwards, insert_after, is_optimizer, remove, scope_of
from snellen.core.finding import Evidence, Fix, FixSafety, Level, Location
from snellen.core.rule import Rule, SourceFacet, absent
from snellen.core.source import Assignment, CallSite, ClassBlock, Hit, SourceFile, Span

__all__ = ["RULE"]

_WITH_PARAMETERS = re.compile(
    r"torch\.nn\.(?:Lazy)?(?:Linear|Bilinear|Conv(?:Transpose)?[123]d|BatchNorm[123]d|LayerNorm|GroupNorm|InstanceNorm[123]d"
    r"|SyncBatchNorm|Embedding(?:Bag)?|MultiheadAttention|LSTM|GRU|RNN|LSTMCell|GRUCell|PReLU|Sequential|RMSNorm"
    r"|Transformer\w*|ModuleList)"
)
_LOOKING = frozenset(
    {"enumerate", "zip", "len", "range", "reversed", "list", "iter", "print", "sum", "max", "min", "str"}
)
_SAME = re.compile(r"(?i)parallel|compile|\bprepare\b|wrap|setup|convert|\bddp\b|fsdp|apply_|checkpoint")
"""Calls that give back what they were given, perhaps within something."""
_REASON = "parameters that stood still are trained and saved from now on"


def _examine(file: SourceFile) -> Iterator[Hit]:
    yield from _plain_containers(file)
    if not any(True for _ in backwards(file)) and ".step(" not in file.text:
        return
    for item in file.assignments:
        made = item.call
        optimizer = made is not None and made.name.startswith("torch.optim.") and is_optimizer(item.target, item.origin)
        if made is None or not optimizer or not made.arguments:
            continue
        given = _given(file, item, made.arguments[0].code)
        found = re.search(r"([A-Za-z_][\w.]*)\.(?:named_)?parameters\(\)", given)
        if found is None or _made_again(file, item):
            continue
        yield from _replaced(file, item, made, found[1])
        if "requires_grad" in given:
            yield from _unfrozen(file, item, found[1])


def _given(file: SourceFile, item: Assignment, code: str) -> str:
    """What the optimiser is given; of a name that is given once, what that is."""
    made = [a for a in file.assignments if a.target == code and a.function == item.function]
    return made[0].code if len(made) == 1 and made[0].span.start < item.span.start else code


def _made_again(file: SourceFile, item: Assignment) -> bool:
    """Whether another optimiser follows in the same function, or parameters are added."""
    if any(call.method == "add_param_group" and call.function == item.function for call in file.calls):
        return True
    later = (a for a in file.assignments if a.function == item.function and a.span.start > item.span.start)
    return any(
        a.call is not None and a.call.name.startswith("torch.optim.") and is_optimizer(a.target, a.origin)
        for a in later
    )


def _later(file: SourceFile, item: Assignment) -> Iterator[Assignment]:
    """Assignments below the optimiser in the same function, and not in another branch."""
    scope = scope_of(file, item.span)
    for other in file.assignments:
        below = scope.contains(other.span) and other.span.start > item.span.end and other.function == item.function
        if below and set(item.conditions) <= set(other.conditions):
            yield other


def _replaced(file: SourceFile, item: Assignment, made: CallSite, model: str) -> Iterator[Hit]:
    """A part of the model, or the model itself, made anew after the optimiser."""
    for other in _later(file, item):
        part = other.target.startswith(f"{model}.") or other.target.startswith(f"{model}[")
        whole = other.target == model
        if not (part or whole) or other.call is None or other.operator or _SAME.search(other.code):
            continue
        if re.search(rf"(?<![\w.]){re.escape(other.target)}\b", other.code):
            # The same object again, moved or wrapped.
            continue
        new = _WITH_PARAMETERS.fullmatch(other.call.name) or is_module(file, "", other.origin)
        if not new or not _trained_after(file, item, other):
            continue
        message = (
            f"`{other.target}` is made anew after `{item.target}` was given `{made.arguments[0].code}`: the optimiser"
            " does not know its parameters, they are never updated"
        )
        yield Hit(
            message, other.span, _move(file, item, other), (_place(file, item.span, "the optimiser is made here"),)
        )
        return


def _trained_after(file: SourceFile, item: Assignment, other: Assignment) -> bool:
    """Whether a step is taken below, or the optimiser is handed to something that may take one."""
    if other.function.endswith(".__init__") and other.target.startswith("self."):
        return True
    scope = scope_of(file, other.span)
    for call in file.calls:
        if not scope.contains(call.span) or call.span.start < other.span.end or call.function != item.function:
            continue
        handed = any(argument.code == item.target for argument in call.arguments)
        if call.method == "backward" or handed or (call.method == "step" and call.receiver == item.target):
            return True
    return False


def _move(file: SourceFile, item: Assignment, other: Assignment) -> Fix:
    text = f"Make `{item.target}` after `{other.target}`."
    statement = Span(item.span.start_line, _start(file, item), item.span.end_line, item.span.end_column)
    taken = remove(file, statement)
    code = f"{item.target} = {item.code}"
    added = insert_after(file, other.span, code) if "\n" not in code else None
    between = [c for c in file.calls if item.span.end < c.span.start < other.span.start and item.target in c.code]
    if taken is None or added is None or between or item.conditions != other.conditions:
        return Fix(text)
    return Fix(text, FixSafety.UNSAFE, _REASON, (taken, added))


def _start(file: SourceFile, item: Assignment) -> int:
    line = re.split(r"\r\n|\r|\n", file.text)[item.span.start_line - 1]
    return len(line) - len(line.lstrip()) if line.lstrip().startswith(f"{item.target} = ") else item.span.start_column


def _unfrozen(file: SourceFile, item: Assignment, model: str) -> Iterator[Hit]:
    """Parameters that are made trainable after an optimiser took only the trainable ones."""
    root = model.partition(".")[0]
    places: list[tuple[Span, str]] = []
    for other in _later(file, item):
        if other.target.endswith(".requires_grad") and other.value is True and other.owner is not None:
            owner = other.owner.call.receiver or ""
            if owner.partition(".")[0] == root:
                places.append((other.span, owner))
    scope = scope_of(file, item.span)
    for call in file.calls:
        below = scope.contains(call.span) and call.span.start > item.span.end and call.method == "requires_grad_"
        released = not call.arguments or call.arguments[0].value is True
        if below and released and call.receiver is not None and call.receiver.partition(".")[0] == root:
            places.append((call.span, call.receiver))
    for span, owner in places[:1]:
        message = (
            f"`{owner}` is unfrozen after `{item.target}` took only what required a gradient then: it is not updated"
        )
        text = (
            f"Give `{item.target}` all parameters from the start, or add"
            f' `{item.target}.add_param_group({{"params": {owner}.parameters()}})`.'
        )
        yield Hit(message, span, Fix(text), (_place(file, item.span, "the optimiser is made here"),))


def _plain_containers(file: SourceFile) -> Iterator[Hit]:
    """Modules in lists and dictionaries that PyTorch does not look into."""
    own = {cls for other, cls in module_classes(file) if other.path == file.path}
    names = {cls.rpartition(".")[2] for _, cls in module_classes(file)} if own else set()
    for item in file.assignments:
        cls, _, method = item.function.rpartition(".")
        field = re.fullmatch(r"self\.(\w+)", item.target)
        if cls not in own or method != "__init__" or field is None or item.code[:1] not in "[{":
            continue
        block = next(block for block in file.classes if block.name == cls)
        if _is_registered(file, block, field[0]) or not _is_used(file, cls, field[0]):
            continue
        makers = [call for call in _makers(file, item, block) if _has_parameters(call, names)]
        makers = [call for call in makers if not any(o is not call and o.span.contains(call.span) for o in makers)]
        if len(makers) > 1 or any(call.in_loop for call in makers):
            yield _container(file, item, makers[0])


def _makers(file: SourceFile, item: Assignment, block: ClassBlock) -> Iterator[CallSite]:
    """Calls that make what the container holds: within its brackets, or appended to it."""
    yield from file.calls_in(item.span)
    for call in file.calls_in(block.span):
        if call.method in ("append", "extend", "insert") and call.receiver == item.target and call.arguments:
            inside = list(file.calls_in(call.arguments[-1].span))
            origin = call.arguments[-1].origin
            yield from inside or ([origin.call] if origin is not None and not origin.through else [])


def _has_parameters(call: CallSite, names: set[str]) -> bool:
    return _WITH_PARAMETERS.fullmatch(call.name) is not None or call.name.rpartition(".")[2] in names


def _is_registered(file: SourceFile, block: ClassBlock, field: str) -> bool:
    """Whether the modules are registered in another way, or the container is handed to something that may do so."""
    for call in file.calls_in(block.span):
        if call.method in ("add_module", "register_module", "setattr", "__setattr__"):
            return True
        given = any(argument.code.lstrip("*") in (field, f"{field}.values()") for argument in call.arguments)
        if given and call.name not in _LOOKING and call.method != "append":
            return True
    made = (a for a in file.assignments if block.span.contains(a.span) and a.target == field)
    return any(a.call is not None and a.call.method in ("ModuleList", "ModuleDict", "Sequential") for a in made)


def _is_used(file: SourceFile, cls: str, field: str) -> bool:
    methods = [
        block for block in file.functions if block.name.startswith(f"{cls}.") and block.name != f"{cls}.__init__"
    ]
    return any(re.search(rf"{re.escape(field)}\b", block.code) for block in methods)


def _container(file: SourceFile, item: Assignment, maker: CallSite) -> Hit:
    kind = "ModuleDict" if item.code.startswith("{") else "ModuleList"
    message = (
        f"`{item.target}` is a plain {'dictionary' if kind == 'ModuleDict' else 'list'}: `{maker.name}` in it is not"
        " registered, the optimiser, `to()` and `state_dict()` do not see it"
    )
    local = next((name for name, full in file.imports.items() if full == "torch.nn"), "torch.nn")
    written = f"{local}.{kind}({'' if item.code in ('[]', '{}') else item.code})"
    text = f"Write `{item.target} = {local}.{kind}(...)`."
    fix = Fix(text, FixSafety.UNSAFE, _REASON, (file.edit(item.span, written),))
    return Hit(message, item.span, fix)


def _place(file: SourceFile, span: Span, text: str) -> Evidence:
    return Evidence(text, Location(file.path, span.start_line, span.start_column + 1))


RULE = Rule(
    slug="optimizer-misses-parameters",
    family="autograd",
    title="The optimiser does not know all parameters",
    level=Level.ERROR,
    log=absent("a log does not say which parameters an optimiser holds"),
    source=SourceFacet(("nn.", "torch.optim", "optim."), _examine),
    before=absent("the engine makes the optimiser after the model is complete"),
    during=absent("gradients of parameters that nobody updates look like any others"),
    module=__name__,
)
