"""A spike stream is empty, of a length that no sensor gives, cut off, or without a spike.

What happens
------------
Training stops when the loader reaches the stream, perhaps hours after its start; or the bytes are cut into steps of
another sensor, and every picture of spikes is a shifted, slanted noise that no loss complains of; or a stream of zeros
is read as complete darkness.

Why
---
A stream has no header: its length is steps x height x width x bits, and only the right height and width make sense of
it. Copying broke off, the recorder was stopped within a step, or streams of another camera (250 x 400, 250 x 416 with
16 columns of bookkeeping, 1000 x 1000) lie in the folder. A stream without a spike comes from a covered lens, from a
threshold that the light never reached, or from a file that was allocated and not written.

How to confirm
--------------
Divide the length by height x width / 8 (by height x width where a pixel is a byte): the quotient is the number of
steps, and the rest must be 0. Show the sum over all steps as an image: a wrong width is seen as
slanted stripes.

Fix
---
Copy or record the streams again; state the geometry that fits with `data.spikes: {size: [HEIGHT, WIDTH]}` or in a
`spike_format.json` beside them.

When it is something else
-------------------------
Frames without any stream are `spikes-missing`. A grid of another number of bins than the network takes is
`channel-mismatch`.

Sources
-------
- Zhu et al., A retina-inspired sampling method for visual texture reconstruction, ICME 2019: the camera of 250 x 400,
  https://ieeexplore.ieee.org/document/8784999
- SpikingJelly and SpikeCV read the same files by a height and width that the caller states,
  https://github.com/Zyj061/SpikeCV
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from snellen.core.audits import file_evidence, share, short
from snellen.core.facts.spikes import SpikeStreams
from snellen.core.finding import Finding, Fix, Level
from snellen.core.plan import Cost, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]

_PARTS = 3
"""Of a path, which name the sequence that a stream lies in."""


def _examine(plan: Plan) -> Iterator[Finding]:
    audits: Sequence[SpikeStreams] = plan.fact("spike_streams")
    for found in audits:
        place = setting_place(plan, found.key)
        if found.broken:
            path, why = found.broken[0]
            first = short(path, parts=_PARTS)
            text = f"{share(len(found.broken), found.streams)} spike streams cannot be read: {first} {why}"
            fix = Fix("Copy or record them again, or state their geometry: data.spikes: {size: [HEIGHT, WIDTH]}.")
            evidence = file_evidence(found.broken)
            yield Finding("spike-stream-damaged", Level.ERROR, f"{found.key}: {text}", place, evidence, fix)
        if found.torn:
            path, why = found.torn[0]
            first = short(path, parts=_PARTS)
            text = f"{share(len(found.torn), found.streams)} spike streams end within a step: {first} has {why}"
            fix = Fix("Copy or record them again; what is left of the last step is not read.")
            evidence = file_evidence(found.torn)
            yield Finding("spike-stream-damaged", Level.WARNING, f"{found.key}: {text}", place, evidence, fix)
        if found.silent:
            text = f"{share(len(found.silent), found.looked)} spike streams that were looked into hold no spike at all"
            fix = Fix("Leave these sequences out, or make the streams again with a lower threshold.")
            evidence = file_evidence((path, "no spike") for path in found.silent)
            yield Finding("spike-stream-damaged", Level.WARNING, f"{found.key}: {text}", place, evidence, fix)


RULE = Rule(
    slug="spike-stream-damaged",
    family="tasks",
    title="A spike stream cannot be what the camera saw",
    level=Level.ERROR,
    log=absent("the message depends on the reader, and most print none"),
    source=absent("only the files tell, no line of code does"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("which files there are no step tells"),
    module=__name__,
)
