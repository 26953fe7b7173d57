"""A network takes spikes, and frames have none beside them.

What happens
------------
Training stops at the first frame without a stream; or the loader leaves those sequences out, and the run learns from
what is left without a word; or a grid of zeros takes their place, and the network learns that spikes mean nothing.

Why
---
Spikes lie in another folder than the frames or under other names (`events`, `dat`), one sequence was never voxelised,
or the option that fuses spikes is on for a set that was recorded without such a camera.

How to confirm
--------------
List the folders of one sequence: `blur`, `sharp`, and `spike` (streams) or `spike_vox` (grids), with one file for each
frame or one stream for all.

Fix
---
Copy the streams beside the frames; make them from sharp video with `snellen data synth-deblur`; or train without
spikes: `model.spikes: none`.

When it is something else
-------------------------
Frames without their sharp partner are `unpaired-frame`. A stream of the wrong length is named when it is read, with the
geometries that would fit.

Sources
-------
- Chen et al., Enhancing Motion Deblurring in High-Speed Scenes with Spike Streams, NeurIPS 2023: one stream for each
  blurred frame, https://proceedings.neurips.cc/paper_files/paper/2023
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from snellen.core.audits import MAX_EVIDENCE, audited, listed, share
from snellen.core.finding import Evidence, Finding, Fix, FixSafety, Level
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]


def _examine(plan: Plan) -> Iterator[Finding]:
    model = plan.settings.get("model")
    wanted = model.get("spikes", "none") if isinstance(model, Mapping) else "none"
    if wanted in ("none", None, False):
        raise NotApplicable("the network takes no spikes")
    data = plan.settings.get("data")
    stated = data.get("motion", "auto") if isinstance(data, Mapping) else "auto"
    kinds = ("spikes", "voxels") if stated == "auto" else (str(stated),)
    for folder in audited(plan):
        frames = [sample for sample in folder.samples if sample.partner is not None and not sample.role]
        # One kind for all frames: streams and grids are not mixed.
        least = min(
            ([one for one in frames if getattr(one, kind, None) is None] for kind in kinds), key=len, default=[]
        )
        if not least:
            continue
        groups = Counter(sample.group or "frames" for sample in least)
        none = len(least) == len(frames)
        fix = Fix("Copy the spikes beside the frames, into SEQUENCE/spike or SEQUENCE/spike_vox.")
        if none:
            fix = Fix(
                "Copy the spikes beside the frames, or write model.spikes: none.",
                FixSafety.UNSAFE,
                "a network without spikes is another one",
                settings=(("model.spikes", "none"),),
            )
        yield Finding(
            "spikes-missing",
            Level.ERROR,
            f"{folder.key}: {share(len(least), len(frames))} frames have no {' or '.join(kinds)} beside them, and "
            f"model.spikes is {wanted}: {listed(list(groups))}",
            setting_place(plan, folder.key),
            tuple(Evidence(f"{group}: {count} frames") for group, count in list(groups.items())[:MAX_EVIDENCE]),
            fix,
        )


RULE = Rule(
    slug="spikes-missing",
    family="tasks",
    title="A network takes spikes, and frames have none",
    level=Level.ERROR,
    log=absent("the message depends on the loader, see `missing-file`"),
    source=absent("only the files tell, no line of code does"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("which files there are no step tells"),
    module=__name__,
)
