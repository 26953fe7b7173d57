"""Words that have no place in the package's source."""

from __future__ import annotations

import ast
import re

import pytest

from source_tree import Module, modules

BANNED = {
    "the path of one machine": re.compile(
        r"(?<![\w.])/(root|Users|mnt|scratch|work\w*)/\w|(?<![\w.])/home/(?!user\b|you\b|me\b)\w"
    ),
    "a package registry": re.compile(r"\b(pypi\.org|pythonhosted\.org|anaconda\.org)"),
    # Spelled so that this file does not hold them itself.
    "unfinished work": re.compile(r"\b(TO[D]O|FIX[M]E)\b|#.*\b(X[X]X|HA[C]K)\b|\braise NotImplemented[E]rror"),
}


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.place)
def test_source_holds_none_of_the_banned_words(module: Module) -> None:
    offences = [
        f"{module.place}:{module.text.count(chr(10), 0, found.start()) + 1} names {what}: {found.group().strip()}"
        for what, pattern in BANNED.items()
        for found in pattern.finditer(module.text)
    ]
    assert not offences, "\n".join(offences)


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.place)
def test_nothing_is_unpickled(module: Module) -> None:
    calls = [node for node in ast.walk(module.tree) if isinstance(node, ast.Call)]
    offences = [
        f"{module.place}:{call.lineno} calls {ast.unparse(call.func)}" for call in calls if not _reads_safely(call)
    ]
    assert not offences, "\n".join(offences)


def _reads_safely(call: ast.Call) -> bool:
    options = {option.arg: ast.unparse(option.value) for option in call.keywords}
    if options.get("allow_pickle", "False") != "False":
        return False
    match ast.unparse(call.func).split("."):
        case ["torch", "load"]:
            return options.get("weights_only") == "True"
        case [("pickle" | "dill" | "joblib"), *_] | ["torch", "save"]:
            return False
    return True
