"""A setting has the wrong type, usually a number that was read as text.

What happens
------------
`TypeError: '<=' not supported between instances of 'float' and 'str'`, raised far from the configuration, inside
the optimiser: it checks `0.0 <= lr`. Or `'str' object cannot be interpreted as an integer` where the epochs are
counted.

Why
---
PyYAML follows YAML 1.1, in which a float needs a dot: `1e-4` is the text "1e-4", `1.0e-4` is a number. Environment
variables are always text, and so are command line options that were declared without `type=`.

How to confirm
--------------
`print(repr(lr))` shows quotes: `'1e-4'`. `python -c "import yaml; print(repr(yaml.safe_load('1e-4')))"` does the
same.

Fix
---
Convert where the value is read, `float(config["lr"])`, or write `0.0001`, or read the file as YAML 1.2
(ruamel.yaml), or validate it against types when it is loaded. `type=float` for `argparse`.

When it is something else
-------------------------
The same message on data instead of settings: a table whose column was read as text.

Sources
-------
- YAML 1.1, the float type and its dot: https://yaml.org/type/float.html
- YAML 1.2.2, the core schema, in which `1e-4` is a float: https://yaml.org/spec/1.2.2/#103-core-schema
- `argparse`, `type`: https://docs.python.org/3/library/argparse.html#type
"""

from __future__ import annotations

from snellen.core.finding import Level
from snellen.core.log import Log, LogMatch
from snellen.core.rule import LogFacet, Rule, absent

__all__ = ["RULE"]


def _examine(log: Log) -> LogMatch | None:
    return None


RULE = Rule(
    slug="config-type",
    family="config",
    title="A setting has the wrong type",
    level=Level.ERROR,
    log=LogFacet(("typeerror",), _examine),
    source=absent("its pattern in source is a rule of its own: untyped-config-number"),
    before=absent("filled by check"),
    during=absent("a value of the wrong type fails before the first step"),
    module=__name__,
)
