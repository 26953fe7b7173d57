"""A schema in words: what a key expects, which keys stand beside it, what was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from snellen.config.document import join_key, split_key
from snellen.config.schema import RunConfig

__all__ = ["SchemaView", "describe_value", "nearest"]

Node = Mapping[str, Any]

_SYNONYMS = {
    "learning_rate": "lr",
    "learningrate": "lr",
    "bs": "batch_size",
    "wd": "weight_decay",
    "num_epochs": "epochs",
    "max_epochs": "epochs",
    "num_workers": "workers",
    "optimizer": "optimiser",
    "gradient_clip_val": "clip_norm",
    "grad_clip": "clip_norm",
    "accumulate_grad_batches": "accumulate",
    "gradient_accumulation_steps": "accumulate",
    "random_seed": "seed",
    "arch": "name",
    "architecture": "name",
    "backbone": "name",
    "name": "backbone",
    "validation": "val",
    "valid": "val",
    "float16": "fp16",
    "half": "fp16",
    "16-mixed": "fp16",
    "bfloat16": "bf16",
    "bf16-mixed": "bf16",
    "float32": "fp32",
    "32": "fp32",
}
"""Names that other tools use."""


class SchemaView:
    """Answers questions about a run model's keys.

    Args:
        schema: The model.
    """

    def __init__(self, schema: type[RunConfig]) -> None:
        self._root = _json_schema(schema)

    def keys(self, parts: Sequence[str | int]) -> tuple[str, ...]:
        """The keys that a section may have, `()` when it is no section."""
        node = self._find(parts)
        return tuple(key for branch in self._branches(node) for key in branch.get("properties", {})) if node else ()

    def takes_path(self, parts: Sequence[str | int]) -> bool:
        """Whether the value is a path of a file or folder."""
        node = self._find(parts)
        return node is not None and any(branch.get("format") == "path" for branch in self._branches(node))

    def path_keys(self) -> tuple[str, ...]:
        """All keys that take a path or a list of paths."""
        named = [(key, split_key(key)) for key in self._walk(self._root, "")]
        return tuple(key for key, parts in named if self.takes_path(parts) or self.takes_path((*parts, 0)))

    def choices(self, parts: Sequence[str | int]) -> tuple[str, ...]:
        """The words that a key takes, `()` when it takes anything else, too."""
        node = self._find(parts)
        found = [_words(branch) for branch in self._branches(node)] if node else []
        return tuple(word for words in found for word in words)

    def expected(self, parts: Sequence[str | int]) -> str:
        """What a key expects, in words."""
        node = self._find(parts)
        return self._describe(node) if node else "nothing"

    def elsewhere(self, name: str) -> str | None:
        """The key path, in any section, that a name was probably meant for."""
        by_name = {key.rpartition(".")[2]: key for key in self._walk(self._root, "")}
        found = nearest(name, tuple(by_name))
        return by_name[found[0]] if found else None

    def _walk(self, node: Node, prefix: str) -> Iterator[str]:
        for branch in self._branches(node):
            for name, child in branch.get("properties", {}).items():
                yield join_key(prefix, name)
                yield from self._walk(child, join_key(prefix, name))

    def _find(self, parts: Sequence[str | int]) -> Node | None:
        node: Node | None = self._root
        for part in parts:
            node = next((found for branch in self._branches(node or {}) if (found := _step(branch, part))), None)
            if node is None:
                return None
        return node

    def _branches(self, node: Node) -> list[Node]:
        if "$ref" in node:
            return self._branches(self._root["$defs"][node["$ref"].rpartition("/")[2]])
        if "anyOf" in node:
            return [branch for part in node["anyOf"] for branch in self._branches(part)]
        if len(node.get("allOf", ())) == 1:
            return self._branches(node["allOf"][0])
        return [node]

    def _describe(self, node: Node) -> str:
        return " or ".join(dict.fromkeys(self._describe_branch(branch) for branch in self._branches(node)))

    def _describe_branch(self, node: Node) -> str:  # noqa: PLR0911 - one answer per kind of schema
        if words := _words(node):
            return words[0] if len(words) == 1 else f"one of {', '.join(words)}"
        kind = node.get("type")
        if kind in {"integer", "number"}:
            return ("a whole number" if kind == "integer" else "a number") + _bounds(node)
        if kind == "array":
            if "prefixItems" in node:
                return "[" + ", ".join(self._describe(item) for item in node["prefixItems"]) + "]"
            filled = " that is not empty" if node.get("minItems") else ""
            return f"a list{filled}, each {self._describe(node.get('items', {}))}"
        if kind == "object":
            if node.get("properties"):
                return f"the keys {', '.join(node['properties'])}"
            named = _named(node)
            least = "at least one name" if node.get("minProperties") else "names"
            return "no keys" if named is None else f"{least}, each with {self._describe(named)}"
        if kind == "string":
            return "a path" if node.get("format") == "path" else "text"
        return {"boolean": "true or false", "null": "null"}.get(str(kind), "a value")


@cache
def _json_schema(schema: type[RunConfig]) -> dict[str, Any]:
    return schema.model_json_schema()


def _step(node: Node, part: str | int) -> Node | None:
    if isinstance(part, str):
        found = node.get("properties", {}).get(part)
        if found is None:
            found = _named(node)
    else:
        fixed = node.get("prefixItems", [])
        found = fixed[part] if part < len(fixed) else node.get("items")
    return found if isinstance(found, Mapping) else None


def _named(node: Node) -> Node | None:
    """What each value of a mapping is whose keys are free."""
    found = node.get("additionalProperties")
    return found if isinstance(found, Mapping) else None


def _words(node: Node) -> tuple[str, ...]:
    values = node.get("enum", [node["const"]] if "const" in node else [])
    return tuple(_scalar(value) for value in values)


def _bounds(node: Node) -> str:
    lower = f"above {node['exclusiveMinimum']:g}" if "exclusiveMinimum" in node else ""
    lower = f"of at least {node['minimum']:g}" if "minimum" in node else lower
    upper = f"below {node['exclusiveMaximum']:g}" if "exclusiveMaximum" in node else ""
    upper = f"of at most {node['maximum']:g}" if "maximum" in node else upper
    limits = " and ".join(limit for limit in (lower, upper) if limit)
    return f" {limits}" if limits else ""


def _scalar(value: object) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def describe_value(value: object) -> str:
    """A value as found in a run file, short, with its kind where that is the mistake.

    Example:
        >>> describe_value("1e-4"), describe_value(True), describe_value([1, 2])
        ("'1e-4' (text)", 'true', 'the list [1, 2]')
    """
    if isinstance(value, str):
        shown = value if len(value) <= 60 else value[:57] + "..."
        return f"{shown!r} (text)"
    if isinstance(value, Mapping):
        return f"a mapping with the keys {', '.join(list(value)[:5])}" if value else "an empty mapping"
    if isinstance(value, list):
        shown = str(value)
        return f"the list {shown if len(shown) <= 60 else shown[:57] + '...'}"
    return _scalar(value)


def nearest(name: str, valid: Sequence[str], *, typos: bool = True) -> tuple[str, bool] | None:
    """The valid name that was probably meant, and whether there is no real doubt about it.

    Args:
        name: As found.
        valid: Names that would do.
        typos: Whether a slip of the keyboard leaves no doubt: true for keys; among values, `kaggle-t5` may stand
            for something that is not in the list.

    Example:
        >>> nearest("batchsize", ["lr", "batch_size"])
        ('batch_size', True)
        >>> nearest("colour", ["lr", "batch_size"]) is None
        True
    """
    folded = {_fold(candidate): candidate for candidate in valid}
    if _fold(name) in folded:
        return folded[_fold(name)], True
    if _SYNONYMS.get(name.lower()) in valid:
        return _SYNONYMS[name.lower()], True
    close = difflib.get_close_matches(_fold(name), folded, n=2, cutoff=0.65)
    if not close:
        return None
    scores = [difflib.SequenceMatcher(None, _fold(name), candidate).ratio() for candidate in close]
    certain = typos and scores[0] >= 0.85 and (len(scores) == 1 or scores[0] - scores[1] >= 0.15)
    return folded[close[0]], certain


def _fold(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").replace(" ", "")
