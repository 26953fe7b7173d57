"""Part of a model stays at its random initial values, and nothing says so.

What happens
------------
Nothing is raised. The model trains, slowly, or predicts noise. The only trace is a warning: `Some weights were not
initialized from the model checkpoint`, `missing keys in source state_dict`, or no trace at all.

Why
---
`load_state_dict(state, strict=False)` ignores every key that does not fit, and its answer, which lists them, is
thrown away. A prefix (`module.`, `backbone.`) makes all keys differ, so that nothing is loaded. `except: pass`
around the loading hides even a missing file.

How to confirm
--------------
`print(model.load_state_dict(state, strict=False))`: `missing_keys` must hold the new head and nothing else. Compare
the norm of a layer before and after.

Fix
---
Keep `strict=True`, and remove or rename keys on purpose before. Where `strict=False` is needed, compare
`missing_keys` with the list of parts that are meant to be new, and stop when there are others.

When it is something else
-------------------------
A new classification head on a pretrained backbone is meant to be random: its keys alone in the list are no problem.

Sources
-------
- `Module.load_state_dict`: https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.load_state_dict
- Saving and loading models, partial loading: https://docs.pytorch.org/tutorials/beginner/saving_loading_models.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.finding import Fix, Level
from snellen.core.log import Log, LogMatch
from snellen.core.rule import LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Hit, SourceFile

__all__ = ["RULE"]


_LISTED = re.compile(
    r"missing_keys=\[(?P<a>[^\]]+)\]|are newly initialized(?: because the shapes did not match)?: \[(?P<b>[^\]]+)\]"
    r"|missing keys in source state_dict: (?P<c>.+)"
)
_MEANT = re.compile(
    r"classifier|head|(?:^|\.)fc\b|score|pooler|logits|num_batches_tracked|position_ids"
    r"|relative_position_index|running_"
)
_FEWEST = 3
"""So many keys beside the head must be missing: one or two are often buffers."""


def _examine_log(log: Log) -> LogMatch | None:
    if log.exceptions:
        return None
    for line in log.find(_LISTED.pattern):
        found = _LISTED.search(line.text)
        listed = next((part for part in found.groups() if part), "") if found else ""
        keys = [key.strip(" '\"") for key in listed.split(",") if key.strip(" '\"")]
        lost = [key for key in keys if not _MEANT.search(key)]
        if len(lost) >= _FEWEST:
            cause = f"{len(lost)} entries beside the head stay at random values, for example `{lost[0]}`."
            fix = Fix(
                f"Compare `{lost[0]}` with the names in the checkpoint: a prefix such as `module.` or `backbone.` "
                "has to be removed or added. Load with `strict=True` once that is done."
            )
            return LogMatch(0.75, (line.evidence,), cause, fix)
    return None


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    yield from ()


RULE = Rule(
    slug="silent-random-weights",
    family="weights",
    title="Part of the model was not loaded",
    level=Level.WARNING,
    log=LogFacet(("missing_keys", "newly initialized", "missing keys"), _examine_log),
    source=SourceFacet(("load_state_dict", "except"), _examine_source),
    before=absent("filled by check"),
    during=absent("what was loaded is settled before the first step"),
    module=__name__,
)
