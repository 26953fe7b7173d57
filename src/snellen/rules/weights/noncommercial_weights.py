"""Weights that may not be used commercially go into a model.

What happens
------------
Nothing fails. The model trains and is shipped, and somebody asks later under which licence its weights came.

Why
---
The licence of a repository's code is not that of its weights. timm's ConvNeXt V2 and some of its ResNets
(`fb_swsl`, `fb_ssl`), MAE and VRT are published under CC-BY-NC-4.0, MobileViT under terms of its own, detectors of
Ultralytics under AGPL-3.0. What is trained from such weights is commonly held to be derived from them.

How to confirm
--------------
`snellen weights FILE` names the network, the licence of its published weights and who states it. For a name of timm:
`timm.get_pretrained_cfg("convnextv2_tiny.fcmae").license`. Which weights a file really holds only its hash tells:
weights that you trained yourself from a random start are your own.

Fix
---
Research and teaching: nothing to do, state the source. Otherwise take another set of weights of the same network:
`timm.list_pretrained("resnet50.*")` lists them, and each states its licence.

When it is something else
-------------------------
This is a note about terms, no legal advice; weights whose licence nobody states are left alone.

Sources
-------
- timm, licences of pretrained weights: https://github.com/huggingface/pytorch-image-models#licenses
- CC-BY-NC-4.0: https://creativecommons.org/licenses/by-nc/4.0/
- ConvNeXt V2, licence: https://github.com/facebookresearch/ConvNeXt-V2#license
- VRT, licence: https://github.com/JingyunLiang/VRT#license-and-acknowledgement
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.finding import Evidence, Finding, Fix, Level
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]

_RESTRICTED = re.compile(r"\bnc\b|non-?commercial|research|agpl", re.IGNORECASE)


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    stated = [*_of_files(plan), *_of_parts(plan)]
    if not stated:
        raise NotApplicable("the run names no weights whose licence somebody states")
    for key, what, licence, source in stated:
        if _RESTRICTED.search(licence.replace("-", " ")) or _RESTRICTED.search(licence):
            yield Finding(
                "noncommercial-weights",
                Level.NOTE,
                f"{key}: the published weights of {what} are under {licence}, which restricts commercial use",
                setting_place(plan, key),
                (Evidence(f"stated by {source}"),) if source else (),
                Fix("Nothing in research; else take weights under another licence: timm.list_pretrained lists them."),
            )


def _of_files(plan: Plan) -> Iterator[tuple[str, str, str, str]]:
    try:
        networks = plan.fact("architectures")
    except NotApplicable:
        return
    yield from ((one.key, one.name, one.licence, one.licence_source) for one in networks if one.name and one.licence)


def _of_parts(plan: Plan) -> Iterator[tuple[str, str, str, str]]:
    """Weights that are fetched by name, where the part's library states their licence."""
    model = plan.settings.get("model")
    if not isinstance(model, dict) or model.get("pretrained") is not True:
        return
    try:
        contracts = plan.fact("contracts")
    except NotApplicable:
        return
    for contract in contracts:
        if contract.get("licence"):
            yield "model.backbone", str(contract["part"]), str(contract["licence"]), "the part's library"


RULE = Rule(
    slug="noncommercial-weights",
    family="weights",
    title="The weights may not be used commercially",
    level=Level.NOTE,
    log=absent("a log says nothing of the terms of what it loads"),
    source=absent("which weights a name stands for is told by the library, not by code"),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("terms do not change while a run goes on"),
    module=__name__,
)
