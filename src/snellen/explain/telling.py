"""Find a few hundred literals in gigabytes: only what was never seen before is looked at.

A log repeats itself: of a million lines only the digits differ. A line's skeleton is its letters; a line can hold a
literal only if its skeleton holds the literal's. So a skeleton is searched once, and a block of known ones costs no
more than taking it apart. Where every line is new (file names, hashes), the same is done with words.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Telling"]

_LETTERS = string.ascii_lowercase.encode()
_NOT_LETTERS = bytes(set(range(256)) - set(_LETTERS) - {0x0A})
_SPACED = bytes(code if code in _LETTERS else 0x20 for code in range(256))
_SHORTEST = 3
"""Letters that a literal must have to be found by them."""
_REMEMBERED = 50_000
"""Skeletons and words remembered; more, and they are learned anew."""
_LONG = 500
"""A skeleton of more letters is not remembered."""
_MUCH = 1 << 15
"""From so many new letters in a block on, it and the next ones are looked at by words."""
_BLOCKS_BY_WORDS = 16
_MANY = 3000
"""So many new words in a block are not worth remembering."""
_GRAM = 5
"""Letters of a key that are looked for first."""

_Literals = frozenset[bytes]


class Telling:
    """Finds literals in the blocks of a log.

    Args:
        literals: In lower case.
        often: How many lines one literal may tell of before it is given up: a loss that stays NaN tells nothing new
            on its millionth line.

    Example:
        >>> finder = Telling([b"out of memory"], often=2)
        >>> [finder.search(block) for block in (b"step 1", b"CUDA Out of Memory", b"memory: 80%")]
        [[], [(5, b'out of memory')], []]
    """

    def __init__(self, literals: Iterable[bytes], *, often: int) -> None:
        self._left = dict.fromkeys(literals, often)
        by_skeleton: dict[bytes, set[bytes]] = {}
        by_word: dict[bytes, set[bytes]] = {}
        self._plain: set[bytes] = set()
        for literal in self._left:
            word = max(literal.translate(_SPACED).split() or [b""], key=len)
            if len(word) < _SHORTEST:
                self._plain.add(literal)
            else:
                by_skeleton.setdefault(literal.translate(None, _NOT_LETTERS + b"\n"), set()).add(literal)
                by_word.setdefault(word, set()).add(literal)
        self._by_skeleton, self._by_word = _Learner(by_skeleton), _Learner(by_word)
        self._by_words_for = 0

    def search(self, block: bytes) -> list[tuple[int, bytes]]:
        """Where which literal begins, in order; of one that comes often, the first ones."""
        lowered = block.lower()
        found: set[tuple[int, bytes]] = set()
        for literal in self._possible(lowered) | self._plain:
            left = self._left[literal]
            at = lowered.find(literal) if left else -1
            while at >= 0 and left:
                found.add((at, literal))
                left -= 1
                # One line tells once.
                end = lowered.find(b"\n", at)
                at = lowered.find(literal, end) if end >= 0 else -1
            self._left[literal] = left
        return sorted(found)

    def _possible(self, lowered: bytes) -> set[bytes]:
        """Literals that the block may hold; no other can be in it."""
        if self._by_words_for == 0:
            lines = set(lowered.translate(None, _NOT_LETTERS).split(b"\n"))
            new = self._by_skeleton.new(lines)
            if sum(map(len, new)) <= _MUCH:
                return self._alive(self._by_skeleton.held(lines, new, remember=True))
            self._by_words_for = _BLOCKS_BY_WORDS
        self._by_words_for -= 1
        words = set(lowered.translate(_SPACED).split())
        new = self._by_word.new(words)
        return self._alive(self._by_word.held(words, new, remember=len(new) <= _MANY))

    def _alive(self, literals: set[bytes]) -> set[bytes]:
        return {literal for literal in literals if self._left[literal]}


class _Learner:
    """Knows of texts seen before which literals they may hold.

    Args:
        keys: Text that must be inside, and the literals for which it stands.
    """

    def __init__(self, keys: Mapping[bytes, set[bytes]]) -> None:
        self._keys = {key: frozenset(literals) for key, literals in keys.items()}
        self._by_gram: dict[bytes, list[bytes]] = {}
        for key in keys:
            self._by_gram.setdefault(key[:_GRAM], []).append(key)
        # In a lookahead, so that one gram does not hide another that begins inside it.
        self._grams = re.compile(b"(?=(" + _any_of(sorted(self._by_gram)) + b"))") if keys else None
        self._known: dict[bytes, _Literals] = {}

    def new(self, texts: set[bytes]) -> list[bytes]:
        """Those not seen before."""
        known = self._known
        return [text for text in texts if text not in known]

    def held(self, texts: set[bytes], new: Sequence[bytes], *, remember: bool) -> set[bytes]:
        """Literals that any of the texts may hold."""
        held: set[bytes] = set()
        inside = self._inside(b"\n".join(new)) if new else []
        held.update(*(self._keys[key] for key in inside))
        known = self._known
        hot = {known[text] for text in texts if text in known} if len(new) < len(texts) else set()
        if remember:
            if len(known) > _REMEMBERED:
                known.clear()
            for text in new:
                if len(text) <= _LONG:
                    known[text] = self._literals([key for key in inside if key in text]) if inside else frozenset()
        return held.union(*hot)

    def _inside(self, whole: bytes) -> list[bytes]:
        grams = set(self._grams.findall(whole)) if self._grams else set()
        return [key for gram in grams for key in self._by_gram[gram] if key in whole]

    def _literals(self, keys: Sequence[bytes]) -> _Literals:
        return frozenset().union(*(self._keys[key] for key in keys))


def _any_of(words: Sequence[bytes]) -> bytes:
    """A pattern that finds any of the words, put together letter by letter: a list of alternatives is tried in turn."""
    tree: dict[int, bytes] = {}
    heads: dict[int, list[bytes]] = {}
    for word in words:
        heads.setdefault(word[0], []).append(word[1:])
    for head, tails in heads.items():
        # A word that others begin with stands for them all: the rest is compared later.
        tree[head] = b"" if b"" in tails else _any_of(tails)
    parts = [bytes([head]) + tail for head, tail in tree.items()]
    return parts[0] if len(parts) == 1 else b"(?:" + b"|".join(parts) + b")"
