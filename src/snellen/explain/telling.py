"""Find a few hundred literals in gigabytes: only what was never seen before is looked at.

A log repeats itself: of a million lines only the numbers differ. A line's skeleton is what is left of it without
numbers and spaces; a line can hold a literal only if its skeleton holds the literal's. So a skeleton is searched once,
and a block of known ones costs no more than taking it apart. Where every line is new (file names, hashes), the same is
done with words.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Telling"]

_LETTERS = string.ascii_lowercase.encode()
_VARYING = bytes(code for code in range(0x21) if code != 0x0A) + b"\x7f0123456789.-+"
_SPACED = bytes(code if code in _LETTERS + b"_" else 0x20 for code in range(256))
_SHORTEST = 3
"""Characters that a skeleton or word must have for a literal to be found by it."""
_REMEMBERED = 50_000
"""Skeletons and words remembered; more, and they are learned anew."""
_LONG = 500
"""A skeleton of more letters is not remembered."""
_MUCH = 1 << 15
"""From so many new letters in a block on, it and the next ones are looked at by words."""
_BLOCKS_BY_WORDS = 16
_MANY = 3000
"""So many new words in a block are not worth remembering."""
_GRAM = 8
"""Characters of a key that are looked for first."""

_WORTH_A_PATTERN = 1 << 18
"""Bytes to be searched for which making a pattern pays."""


class Telling:
    """Finds literals in the blocks of a log.

    Args:
        literals: In lower case.
        often: How many lines one literal may tell of before it is given up: a loss that stays NaN tells nothing new
            on its millionth line. Or a number for each literal.

    `found` holds the literals that any block so far has held.

    Example:
        >>> finder = Telling([b"out of memory"], often=2)
        >>> [finder.search(block) for block in (b"step 1", b"CUDA Out of Memory", b"memory: 80%")]
        [[], [(5, b'out of memory')], []]
    """

    def __init__(self, literals: Iterable[bytes], *, often: int | Mapping[bytes, int]) -> None:
        self._left = dict.fromkeys(literals, often) if isinstance(often, int) else dict(often)
        self.found: set[bytes] = set()
        self._by_skeleton = _Keys({literal: [literal.translate(None, _VARYING + b"\n")] for literal in self._left})
        self._by_word = _Keys({literal: _marked_words(literal) for literal in self._left})
        self._by_words_for = 0

    def search(self, block: bytes) -> list[tuple[int, bytes]]:
        """Where which literal begins, in order; of one that comes often, the first ones."""
        lowered = block.lower()
        found: set[tuple[int, bytes]] = set()
        for literal in self._possible(lowered):
            left = self._left[literal]
            at = lowered.find(literal) if left else -1
            while at >= 0 and left:
                found.add((at, literal))
                left -= 1
                # One line tells once.
                end = lowered.find(b"\n", at)
                at = lowered.find(literal, end) if end >= 0 else -1
            self._left[literal] = left
        self.found.update(literal for _, literal in found)
        return sorted(found)

    def _possible(self, lowered: bytes) -> list[bytes]:
        """Literals that the block may hold; no other can be in it."""
        alive = [literal for literal, left in self._left.items() if left]
        if self._by_words_for == 0:
            lines = set(lowered.translate(None, _VARYING).split(b"\n"))
            new = self._by_skeleton.new(lines)
            if sum(map(len, new)) <= _MUCH:
                return self._by_skeleton.possible(alive, self._by_skeleton.held(lines, new, remember=True))
            self._by_words_for = _BLOCKS_BY_WORDS
        self._by_words_for -= 1
        words = set(lowered.translate(_SPACED).split())
        new = self._by_word.new(words)
        return self._by_word.possible(alive, self._by_word.held(words, new, remember=len(new) <= _MANY))


def _marked_words(literal: bytes) -> list[bytes]:
    """The words of a literal, with a line end on each side on which the literal itself ends them."""
    spaced = literal.translate(_SPACED)
    words = [b"\n" + word + b"\n" for word in spaced.split()]
    if words and not spaced.startswith(b" "):
        words[0] = words[0][1:]
    if words and not spaced.endswith(b" "):
        words[-1] = words[-1][:-1]
    return words


class _Keys:
    """Knows what of literals must be seen, and in which texts seen before it was.

    Args:
        parts: For each literal the pieces that are inside every text that holds it.
    """

    def __init__(self, parts: Mapping[bytes, Sequence[bytes]]) -> None:
        self._needed = {
            literal: frozenset(part for part in pieces if len(part.strip()) >= _SHORTEST)
            for literal, pieces in parts.items()
        }
        self._keys = sorted(frozenset[bytes]().union(*self._needed.values()))
        self._by_gram: dict[bytes, list[bytes]] = {}
        gram = b""
        for key in self._keys:
            # Sorted, so that a short key comes before those that begin with it: finding it stands for all of them.
            gram = gram if gram and key.startswith(gram) else key[:_GRAM]
            self._by_gram.setdefault(gram, []).append(key)
        self._grams: re.Pattern[bytes] | None = None
        self._searched = 0
        self._known: dict[bytes, frozenset[bytes]] = {}

    def new(self, texts: set[bytes]) -> list[bytes]:
        """Those not seen before."""
        known = self._known
        return [text for text in texts if text not in known]

    def possible(self, literals: Iterable[bytes], held: set[bytes]) -> list[bytes]:
        """The literals of which all is held that must be."""
        return [literal for literal in literals if self._needed[literal] <= held]

    def held(self, texts: set[bytes], new: Sequence[bytes], *, remember: bool) -> set[bytes]:
        """The keys that any of the texts holds."""
        inside = self._inside(b"\n%b\n" % b"\n".join(new)) if new else []
        known = self._known
        seen = {known[text] for text in texts if text in known} if len(new) < len(texts) else set()
        if remember:
            if len(known) > _REMEMBERED:
                known.clear()
            for text in new:
                if len(text) <= _LONG:
                    ended = b"\n%b\n" % text
                    known[text] = frozenset(key for key in inside if key in ended) if inside else frozenset()
        return set(inside).union(*seen)

    def _inside(self, whole: bytes) -> list[bytes]:
        """The keys that a text holds."""
        self._searched += len(whole)
        if self._searched < _WORTH_A_PATTERN:
            return [key for key in self._keys if key in whole]
        if self._grams is None and self._keys:
            # In a lookahead, so that one gram does not hide another that begins inside it.
            self._grams = re.compile(b"(?=(" + _any_of(sorted(self._by_gram)) + b"))")
        grams = set(self._grams.findall(whole)) if self._grams else set()
        return [key for gram in grams for key in self._by_gram[gram] if key == gram or key in whole]


def _any_of(words: Sequence[bytes]) -> bytes:
    """A pattern that finds any of the words, none of which begins another.

    It is put together letter by letter: a list of alternatives is tried in turn.
    """
    tree: dict[int, bytes] = {}
    heads: dict[int, list[bytes]] = {}
    for word in words:
        heads.setdefault(word[0], []).append(word[1:])
    for head, tails in heads.items():
        tree[head] = b"" if b"" in tails else _any_of(tails)
    parts = [re.escape(bytes([head])) + tail for head, tail in tree.items()]
    return parts[0] if len(parts) == 1 else b"(?:" + b"|".join(parts) + b")"
