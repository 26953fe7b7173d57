"""The results are written where they are lost when the session, the container or the machine ends.

What happens
------------
The run ends well, or is broken off after ten hours as such sessions are, and afterwards its checkpoints are gone.

Why
---
Hosted notebooks and containers keep only some folders. Kaggle saves `/kaggle/working` (20 GB) with the version of the
notebook, nothing else. Colab's `/content` goes with the session; only what lies below a mounted `/content/drive`
stays. A container's own layer goes with `docker run --rm` or the next pull. `/dev/shm`, and on many systems `/tmp`,
are main memory.

How to confirm
--------------
`df -hT FOLDER`: `tmpfs` is memory, `overlay` the container's own layer. `snellen doctor` prints the kind of file
system that the results would lie on.

Fix
---
`output: /kaggle/working/runs` on Kaggle; on Colab `from google.colab import drive; drive.mount("/content/drive")` and
`output: /content/drive/MyDrive/runs`; a container gets a volume: `docker run -v $PWD/runs:/data/runs ...`.

When it is something else
-------------------------
A folder that may not be written to is `cache-permission`, one that is full `disk-full`.

Sources
-------
- Kaggle, notebooks and their output: https://www.kaggle.com/docs/notebooks
- Colab, questions: https://research.google.com/colaboratory/faq.html
- Docker, where data is kept: https://docs.docker.com/engine/storage/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePath

from snellen.core.facts.machine import MachineFacts
from snellen.core.facts.places import PlaceFacts
from snellen.core.finding import Finding, Fix, Level
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]

_KEPT = {"kaggle": "/kaggle/working", "colab": "/content/drive"}
_WRITE = {"kaggle": "/kaggle/working/runs", "colab": "/content/drive/MyDrive/runs"}


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    machine: MachineFacts = plan.fact("machine")
    places: Mapping[str, PlaceFacts] = {place.key: place for place in plan.fact("places")}
    output = places.get("output")
    if output is None:
        raise NotApplicable("where the run would write is not known")
    if "TMPDIR" in places and PurePath(output.path).is_relative_to(places["TMPDIR"].path):
        raise NotApplicable(f"{output.path} lies among temporary files, which nobody expects to stay")
    why, level, instead = _lost(machine, output)
    if why:
        where = setting_place(plan, "output")
        settings = (("output", instead),) if instead and plan.path is not None else ()
        advice = f"Write output: {instead}" if instead else "Give `output` a folder on a disk or a volume."
        yield Finding("output-not-kept", level, f"{output.path} {why}", where, fix=Fix(advice, settings=settings))


def _lost(machine: MachineFacts, output: PlaceFacts) -> tuple[str, Level, str]:
    """Why results are lost there, how sure that is, and where to write instead."""
    for host, kept in _KEPT.items():
        if host in machine.surroundings:
            stays = PurePath(output.path).is_relative_to(kept)
            return ("" if stays else f"is not kept by {host.title()}: only {kept} is"), Level.WARNING, _WRITE[host]
    if output.in_memory:
        return f"lies in main memory ({output.kind}): it takes memory and is gone at the next start", Level.WARNING, ""
    if output.kind == "overlay" and "container" in machine.surroundings:
        return "lies in the container's own layer, which goes with the container", Level.NOTE, ""
    return "", Level.NOTE, ""


RULE = Rule(
    slug="output-not-kept",
    family="environment",
    title="What the run writes is lost when the session ends",
    level=Level.WARNING,
    log=absent("results that are gone leave no line in a log"),
    source=absent("where a run writes is decided by its settings"),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("the folder does not change during a run"),
    module=__name__,
)
