"""Hooks of the site: the sections of the navigation that follow from the source.

The reference has one page a part, with every public module of it that states an `__all__`; the rules have one page
each, written by `docs/generate_rules.py`.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PARTS = {
    "snellen": "The package itself: what `import snellen` gives, and its errors.",
    "core": "The vocabulary that all parts share. Standard library only.",
    "config": "Run files: their schema, how they are read, and how `auto` is settled.",
    "rules": "The catalogue of known failures.",
    "check": "Before the run: a plan's facts, and the checks over them.",
    "explain": "After it happened: from a log to ranked causes.",
    "lint": "In source: known failure patterns and their edits.",
    "guard": "During the run: what watches every step.",
    "proving": "Whether a fix changes what a function computes.",
    "authoring": "Writing a rule of one's own.",
    "watch": "Any command, with its failure explained at the end.",
    "engine": "Training, evaluation and prediction; checkpoints.",
    "trace": "Models gone through without weights: shapes, memory, operations.",
    "estimate": "Memory and time of a run on any GPU, without one.",
    "data": "Reading images and masks, folders, lists and samples.",
    "models": "Contracts, weights, backbones and networks.",
    "ops": "Pure functions on tensors.",
    "tasks": "What is learned or inferred.",
    "report": "Text, JSON, HTML and plots of what was found.",
}
"""The parts that have a reference page, in the order of the navigation, and their first sentence."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    root = Path(config.config_file_path).parent
    nav: list[Any] = config.nav or []
    if pages := _rule_pages(Path(config.docs_dir)):
        nav.append({"Rules": pages})
    nav.append({"Reference": [{part: f"reference/{part}.md"} for part in PARTS if _modules(root, part)]})
    config.nav = nav
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    root = Path(config.config_file_path).parent
    for part, sentence in PARTS.items():
        if names := _modules(root, part):
            body = "\n\n".join([f"# {part}", sentence, *(f"::: {name}" for name in names)])
            files.append(File.generated(config, f"reference/{part}.md", content=body + "\n"))
    return files


def _rule_pages(docs: Path) -> list[Any]:
    """The index first, then the pages below the name of their family, which each page states."""
    families: dict[str, list[dict[str, str]]] = {}
    for path in sorted((docs / "rules").glob("*.md")):
        family = re.search(r"^Family (\w+);", path.read_text(encoding="utf-8"), re.MULTILINE)
        if family:
            families.setdefault(family[1].capitalize(), []).append({path.stem: f"rules/{path.name}"})
    index = ["rules/index.md"] if (docs / "rules" / "index.md").exists() else []
    return [*index, *({family: families[family]} for family in sorted(families))]


def _modules(root: Path, part: str) -> list[str]:
    source = root / "src"
    package = source / "snellen"
    paths = sorted(package.glob("*.py")) if part == "snellen" else sorted((package / part).rglob("*.py"))
    return [_name(path, source) for path in paths if _is_public(path, source)]


def _name(path: Path, source: Path) -> str:
    pieces = path.relative_to(source).with_suffix("").parts
    return ".".join(pieces[:-1] if pieces[-1] == "__init__" else pieces)


def _is_public(path: Path, source: Path) -> bool:
    name = _name(path, source)
    if any(piece.startswith("_") for piece in name.split(".")) or (
        name.startswith("snellen.rules.") and name.count(".") == 3
    ):
        return False
    statements = ast.parse(path.read_text(encoding="utf-8")).body
    return any(
        isinstance(target, ast.Name) and target.id == "__all__"
        for statement in statements
        if isinstance(statement, ast.Assign)
        for target in statement.targets
    )
