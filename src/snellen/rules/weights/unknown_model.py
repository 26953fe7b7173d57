"""A network is asked for by a name that its library does not have.

What happens
------------
`RuntimeError: Unknown model (resnet19)` by timm, `ValueError: Unknown model resnet19` by torchvision, `KeyError: Wrong
encoder name` by segmentation_models_pytorch, `Cannot find callable dinov2_vits15 in hubconf` by torch.hub: when the
network is built, which is after the queue, the start and often the data.

Why
---
A misspelling; a name of another library; a name that another version of the library has; a name whose suffix, the tag
of its weights, was made up: `Invalid pretrained tag`.

How to confirm
--------------
`snellen trace NAME` builds it without weights, or names the nearest that there are.

Fix
---
Write a name that exists: `timm.list_models("*resnet*")`, `torchvision.models.list_models()`. For a network that came
later, upgrade the library.

When it is something else
-------------------------
A repository of the Hugging Face Hub that does not exist, is private or cannot be reached is `hub-auth` or
`hub-offline`. A path that does not exist is `missing-checkpoint`.

Sources
-------
- timm, names of models: https://huggingface.co/docs/timm/quickstart
- torchvision, listing and retrieving models: https://docs.pytorch.org/vision/stable/models.html
- torch.hub: https://docs.pytorch.org/docs/stable/hub.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.file_kinds import nearest
from snellen.core.finding import Finding, Fix, Level
from snellen.core.log import Log, LogMatch
from snellen.core.logs.messages import Message, find_message
from snellen.core.plan import Cost, FactUnavailable, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, LogFacet, Rule, absent

__all__ = ["RULE"]

_SAID = re.compile(
    r"Unknown model \(?(?P<built>[\w.\-/]{1,100})\)?"
    r"|Wrong encoder name [`'\"](?P<encoder>[\w.\-]{1,100})[`'\"](?:, supported encoders: (?P<known>.{0,4000}))?"
    r"|Cannot find callable (?P<hub>[\w.\-]{1,100}) in hubconf"
    r"|Invalid pretrained tag \((?P<tag>[\w.\-]{1,100})\) for (?P<of>[\w\-]{1,100})"
    r"|module '(?P<module>torchvision\.models[\w.]{0,60}|timm\.models[\w.]{0,60}|segmentation_models_pytorch)'"
    r" has no attribute '(?P<attribute>(?=\w*\d)[a-z]\w{1,100})'"  # a network, not a class of weights or a module
)


def _examine(log: Log) -> LogMatch | None:
    said = find_message(log, _SAID)
    return None if said is None else _match(said)


def _match(said: Message) -> LogMatch:
    found = said.match.groupdict()
    if tag := found["tag"]:
        cause = f"timm has no weights `{tag}` of {found['of']}."
        command = f"python -c \"import timm; print(timm.list_pretrained('{found['of']}*'))\""
        return LogMatch(0.95, said.facts, cause, Fix(f"Take a tag that exists: `{command}`.", command=command))
    name = found["built"] or found["encoder"] or found["hub"] or found["attribute"] or ""
    close = nearest(name, re.findall(r"[\w.\-]+", found["known"] or ""))
    cause = f"There is no network called `{name}` in this version of the library."
    command = f"snellen trace {name}"
    first = f"Write `{close}`." if close else f"`{command}` names the nearest names that there are."
    fix = Fix(f"{first} A network that came later needs a newer version of the library.", command=command)
    return LogMatch(0.95, said.facts, cause, fix)


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    asked, reason = False, ""
    for fact in ("contracts", "networks", "weights_fit", "memory"):
        try:
            plan.fact(fact)
            asked = True
        except FactUnavailable as answer:
            if answer.slug != "unknown-model":
                reason = str(answer)
                continue
            keys = ("model.backbone", "model.name", "model")
            key = next((key for key in keys if plan.line_of(key) is not None), "model")
            place = setting_place(plan, key)
            text = f"{answer.hint[0].upper()}{answer.hint[1:]}" if answer.hint else "Write a name that exists."
            yield Finding("unknown-model", Level.ERROR, str(answer), place, fix=Fix(text))
            return
    if not asked:
        raise NotApplicable(reason)


RULE = Rule(
    slug="unknown-model",
    family="weights",
    title="The library has no network of that name",
    level=Level.ERROR,
    log=LogFacet(
        ("unknown model", "wrong encoder name", "cannot find callable", "invalid pretrained tag", "has no attribute"),
        _examine,
    ),
    source=absent("which names exist is a matter of the version that is installed, which is not asked for the source"),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("the network is built before the first step, with the library's own message"),
    module=__name__,
)
