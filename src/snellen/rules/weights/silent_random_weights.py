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

from collections.abc import Iterator

from snellen.core.finding import Level
from snellen.core.log import Log, LogMatch
from snellen.core.rule import LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Hit, SourceFile

__all__ = ["RULE"]


def _examine_log(log: Log) -> LogMatch | None:
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
