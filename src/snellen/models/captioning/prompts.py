"""What Florence-2 can be asked."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from snellen.errors import UsageError
from snellen.models.captioning.locations import Kind

__all__ = ["PROMPTS", "Prompt", "parse_prompt"]


@dataclass(frozen=True, slots=True)
class _Asked:
    token: str
    kind: Kind
    takes_text: bool = False


PROMPTS: Final = MappingProxyType(
    {
        "caption": _Asked("<CAPTION>", "text"),
        "detailed-caption": _Asked("<DETAILED_CAPTION>", "text"),
        "long-caption": _Asked("<MORE_DETAILED_CAPTION>", "text"),
        "objects": _Asked("<OD>", "boxes"),
        "regions": _Asked("<DENSE_REGION_CAPTION>", "boxes"),
        "proposals": _Asked("<REGION_PROPOSAL>", "bare-boxes"),
        "ground": _Asked("<CAPTION_TO_PHRASE_GROUNDING>", "boxes", takes_text=True),
        "find": _Asked("<OPEN_VOCABULARY_DETECTION>", "boxes", takes_text=True),
        "ocr": _Asked("<OCR>", "text"),
        "ocr-regions": _Asked("<OCR_WITH_REGION>", "quads"),
    }
)
"""By the names of run files."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question.

    Args:
        name: As in a run file, with its text: unique among those of a run.
        token: As the model's processor knows it.
        kind: What the answer holds.
        text: What is looked for, `""` where the question takes none.
    """

    name: str
    token: str
    kind: Kind
    text: str = ""


def parse_prompt(said: str) -> Prompt:
    """A prompt as a run file says it: `objects`, `ground: a red car`, or with the model's own token, `<OD>`.

    Raises:
        UsageError: There is no such prompt, its text is missing, or it takes none.

    Example:
        >>> parse_prompt("find: a cat")
        Prompt(name='find: a cat', token='<OPEN_VOCABULARY_DETECTION>', kind='boxes', text='a cat')
    """
    said = " ".join(said.split())
    word, mark, text = said.partition(">" if said.startswith("<") else ":")
    tokens = {asked.token: name for name, asked in PROMPTS.items()}
    name, text = tokens.get(f"{word}{mark}", word), text.strip()
    if name not in PROMPTS:
        close = difflib.get_close_matches(name, PROMPTS, n=1)
        raise UsageError(
            f"there is no prompt {said!r}, expected one of {', '.join(PROMPTS)}",
            hint=f"did you mean {close[0]}?" if close else None,
        )
    asked = PROMPTS[name]
    if asked.takes_text and not text:
        raise UsageError(f"the prompt {name} needs a text", hint=f"for example {name}: a red car")
    if text and not asked.takes_text:
        raise UsageError(f"the prompt {name} takes no text, given {text!r}", hint=f"write {name} alone")
    return Prompt(f"{name}: {text}" if text else name, asked.token, asked.kind, text)
