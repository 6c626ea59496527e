"""Byte-pair encoding: tokens between characters and words, learned from texts, that join to exactly the text.

Source: Sennrich, Haddow, Birch, "Neural Machine Translation of Rare Words with Subword Units", ACL 2016: the two
neighbours that stand together most often become one token, again and again. A text is first cut into words with the
space before them, as in Radford et al., "Language Models are Unsupervised Multitask Learners", 2019; no token goes
across a cut. The alphabet is the characters of the texts.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

Pair = tuple[str, str]
# A longer run is cut, so that a request of one endless word takes no longer than words of the same size.
PIECE = re.compile(r" ?\w{1,32}| ?[^\w\s]{1,32}|\s{1,32}")
LEAST = 2  # times that neighbours must stand together
MOST_KEPT = 1 << 16  # pieces whose tokens are remembered


def pieces(text: str) -> list[str]:
    """Cut a text where no token may go across; the pieces join to the text."""
    return PIECE.findall(text)


def learn_subwords(texts: Iterable[str], size: int) -> list[str]:
    """The tokens of texts: their characters, the most frequent first, and then what was merged, in that order.

    Half of a surrogate pair is never a token, because no response could be sent with it.

    Args:
        texts: training texts.
        size: at most so many tokens.
    """
    counts = Counter(piece for text in texts for piece in pieces(text))
    characters: Counter[str] = Counter()
    for piece, count in counts.items():
        for character in piece:
            characters[character] += count
    writable = [one for one in characters if one.encode(errors="ignore").decode() == one]
    tokens = sorted(writable, key=lambda one: (-characters[one], one))[:size]
    merging, known = _Merging(counts, frozenset(tokens)), set(tokens)
    while len(tokens) < size and (pair := merging.best()):
        merged = "".join(pair)
        merging.merge(pair)
        if merged not in known:  # "ab" + "c" after "a" + "bc"
            known.add(merged)
            tokens.append(merged)
    return tokens


class Subwords:
    """Splits texts into learned tokens: of all neighbours that are a token together, those learned first are merged.

    Args:
        tokens: what `learn_subwords` gave.
    """

    def __init__(self, tokens: Sequence[str]) -> None:
        self._ranks = {token: rank for rank, token in enumerate(tokens)}
        self._kept: dict[str, list[str]] = {}
        self.longest = max(map(len, tokens), default=1)

    def split(self, text: str) -> list[str]:
        """The tokens of a text; a character that no token has is one by itself."""
        return [token for piece in pieces(text) for token in self._of_piece(piece)]

    def _of_piece(self, piece: str) -> list[str]:
        kept = self._kept.get(piece)
        if kept is None:
            kept = self._merged(list(piece))
            if len(self._kept) < MOST_KEPT:
                self._kept[piece] = kept
        return kept

    def _merged(self, parts: list[str]) -> list[str]:
        while len(parts) > 1:
            none = len(self._ranks)
            ranks = [self._ranks.get(parts[at] + parts[at + 1], none) for at in range(len(parts) - 1)]
            best = min(ranks)
            if best == none:
                break
            at = ranks.index(best)
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        return parts


class _Merging:
    """Words as tokens so far, and how often each two neighbours stand together; updated only where they are merged."""

    def __init__(self, counts: Counter[str], alphabet: frozenset[str]) -> None:
        self._alphabet = alphabet
        self._words = [list(word) for word in counts]
        self._counts = list(counts.values())
        self._pairs: Counter[Pair] = Counter()
        self._places: defaultdict[Pair, set[int]] = defaultdict(set)
        for place in range(len(self._words)):
            self._count(place, 1)

    def best(self) -> Pair | None:
        """The most frequent neighbours, of equally frequent ones the first in the alphabet; None: they are too rare."""
        most = max(self._pairs.values(), default=0)
        return min(pair for pair, count in self._pairs.items() if count == most) if most >= LEAST else None

    def merge(self, pair: Pair) -> None:
        """Make one token of these neighbours, everywhere."""
        for place in sorted(self._places[pair]):
            self._count(place, -1)
            self._words[place] = _joined(self._words[place], pair)
            self._count(place, 1)
        self._pairs.pop(pair, None)

    def _count(self, place: int, sign: int) -> None:
        word, count = self._words[place], sign * self._counts[place]
        for pair in pairwise(word):
            if not self._known(pair):
                continue
            self._pairs[pair] += count
            if not self._pairs[pair]:
                del self._pairs[pair]
            if sign > 0:
                self._places[pair].add(place)

    def _known(self, pair: Pair) -> bool:
        """Whether both may be in a token; longer ones were merged of such."""
        return all(len(one) > 1 or one in self._alphabet for one in pair)


def _joined(word: list[str], pair: Pair) -> list[str]:
    found: list[str] = []
    for token in word:
        if found and (found[-1], token) == pair:
            found[-1] += token
        else:
            found.append(token)
    return found
