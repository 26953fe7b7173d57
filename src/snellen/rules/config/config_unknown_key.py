"""A setting has a name that nothing reads, or a name that stands twice.

What happens
------------
Either a crash while the model or the data set is built: `__init__() got an unexpected keyword argument 'val'`, `Key
'lrr' is not in struct`, `Non-existent config key: MODEL.MASKIOU_ON`. Or nothing at all: a lenient loader drops
`bath_size: 64` and the run takes the default.

Why
---
A misspelling, a key in the wrong section, a key of another version of the program, or a key that stands twice, of
which PyYAML silently keeps the last one.

How to confirm
--------------
Look the key up in the program's own default configuration of the same version.

Fix
---
Write the nearest key that exists, or move it to the section where it belongs. Read configurations strictly, so that
an unknown or repeated key is an error when the file is read.

When it is something else
-------------------------
`got an unexpected keyword argument` without a configuration in between is a call in code: often an API that changed
between two versions of a library.

Sources
-------
- YAML 1.2.2: keys of a mapping must be unique: https://yaml.org/spec/1.2.2/#3213-node-comparison
- OmegaConf, struct mode: https://omegaconf.readthedocs.io/en/latest/usage.html#struct-flag
- pydantic, `extra="forbid"`: https://docs.pydantic.dev/latest/api/config/
"""

from __future__ import annotations

from snellen.core.finding import Level
from snellen.core.log import Log, LogMatch
from snellen.core.rule import LogFacet, Rule, absent

__all__ = ["RULE"]


def _examine(log: Log) -> LogMatch | None:
    return None


RULE = Rule(
    slug="config-unknown-key",
    family="config",
    title="A setting has a name that nothing reads",
    level=Level.ERROR,
    log=LogFacet(("keyword argument", "not in struct", "non-existent config key", "key", "extra inputs"), _examine),
    source=absent("which keys exist is known to the program that reads the file, not to its callers"),
    before=absent("filled by check"),
    during=absent("settings are read before the first step"),
    module=__name__,
)
