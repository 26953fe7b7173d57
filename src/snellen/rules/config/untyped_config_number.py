"""A number is taken from YAML, the environment or the command line without being made a number.

What happens
------------
It works until somebody writes `lr: 1e-4` instead of `lr: 0.0001`, or passes `--lr 0.001` instead of taking the
default. Then the value is text, and the error comes from inside the optimiser or the scheduler: see `config-type`.

Why
---
PyYAML reads YAML 1.1: a float needs a dot, `1e-4` is text. `os.environ` holds text only. `argparse` gives text
unless `type=` is stated, but leaves the default as it is, so that the mistake hides until the option is used.

How to confirm
--------------
`python -c "import yaml; print(repr(yaml.safe_load('lr: 1e-4')))"` prints `{'lr': '1e-4'}`.

Fix
---
`float(config["lr"])` where it is read, `type=float` for `argparse`; or load the whole file into a typed schema.

When it is something else
-------------------------
JSON, TOML, OmegaConf and ruamel.yaml (YAML 1.2) read `1e-4` as a number; values from them are left alone.

Sources
-------
- YAML 1.1, the float type: https://yaml.org/type/float.html
- `argparse`, `type`: https://docs.python.org/3/library/argparse.html#type
- `os.environ`: https://docs.python.org/3/library/os.html#os.environ
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.finding import Level
from snellen.core.rule import Rule, SourceFacet, absent
from snellen.core.source import Hit, SourceFile

__all__ = ["RULE"]


def _examine(file: SourceFile) -> Iterator[Hit]:
    yield from ()


RULE = Rule(
    slug="untyped-config-number",
    family="config",
    title="A setting is used as a number without being made one",
    level=Level.WARNING,
    log=absent("what it leads to is a rule of its own: config-type"),
    source=SourceFacet(("yaml", "environ", "getenv", "add_argument"), _examine),
    before=absent("a run file is read as YAML 1.2 and checked against types: config-type"),
    during=absent("a value of the wrong type fails before the first step"),
    module=__name__,
)
