"""Titles: a name of two words for every seed, the same for ever. Pure.

The first million seeds have the million pairs of an adjective and a noun, "Tranquil Pond" for seed 0. Each further
million has the same pairs in the same order, with a number behind them: seed 1,000,000 is "Tranquil Pond 2", the last
seed one with 4295. So each seed has one title and each title one seed.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import Final

from services.contract.errors import FieldError
from services.contract.title_words import ADJECTIVES, NOUNS

MAX_SEED: Final = 2**32 - 1

PAIRS: Final = len(ADJECTIVES) * len(NOUNS)
"""Seeds whose title has no number: 0 to PAIRS - 1."""

_WORDS: Final = len(NOUNS)
_ROUNDS: Final = 4
_SALT: Final = "title 51620"
"""Decides which seed has which pair. This one gives the shared default, seed 0, a calm name."""

_TITLE: Final = re.compile(r"([a-z]+)[ _+-]+([a-z]+)(?:[ _+-]+([1-9][0-9]{0,3}))?")
_MAX_TITLE_CHARS: Final = 40
"""No title is longer, with a few separators to spare."""

_SHORTEST_START: Final = 3
"""Letters that a mistyped word shares with the word that is hinted at, at least."""

_ADJECTIVE_PLACES: Final = {word: place for place, word in enumerate(ADJECTIVES)}
_NOUN_PLACES: Final = {word: place for place, word in enumerate(NOUNS)}


def title_of_seed(seed: int) -> str:
    """The title of a seed, 0 to MAX_SEED: "Tranquil Pond", or with a number "Tranquil Pond 2".

    Raises:
        FieldError: the seed is out of range.
    """
    if not 0 <= seed <= MAX_SEED:
        raise FieldError("seed", seed, f"a whole number from 0 to {MAX_SEED}")
    million, place = divmod(seed, PAIRS)
    adjective, noun = divmod(place, _WORDS)
    for turn in range(_ROUNDS):
        adjective, noun = noun, (adjective + _shift(turn, noun)) % _WORDS
    title = f"{ADJECTIVES[adjective].capitalize()} {NOUNS[noun].capitalize()}"
    return f"{title} {million + 1}" if million else title


def seed_of_title(title: str) -> int:
    """The seed that a title names; case does not count, and hyphens, underscores or plus signs may part the words.

    Raises:
        FieldError: no seed has this title.
    """
    match = _TITLE.fullmatch(title.strip().lower()) if len(title) <= _MAX_TITLE_CHARS else None
    if match is None:
        raise FieldError("seed", title, EXPECTED)
    first, second, number = match.groups()
    if first not in _ADJECTIVE_PLACES:
        raise FieldError("seed", title, f"{EXPECTED}; no title begins with {first!r}{_resembling(first, ADJECTIVES)}")
    if second not in _NOUN_PLACES:
        raise FieldError("seed", title, f"{EXPECTED}; no title ends in {second!r}{_resembling(second, NOUNS)}")
    adjective, noun = _ADJECTIVE_PLACES[first], _NOUN_PLACES[second]
    for turn in reversed(range(_ROUNDS)):
        adjective, noun = (noun - _shift(turn, adjective)) % _WORDS, adjective
    # "Tranquil Pond" has no second spelling "Tranquil Pond 1": one seed, one title.
    million = int(number) - 1 if number else 0
    seed = million * PAIRS + adjective * _WORDS + noun
    if (number and not million) or seed > MAX_SEED:
        raise FieldError("seed", title, f"no number behind the words, or one from 2 to {_last_number(seed % PAIRS)}")
    return seed


def _last_number(place: int) -> int:
    """The highest number that the pair at `place` has behind it."""
    return (MAX_SEED - place) // PAIRS + 1


@lru_cache(maxsize=_ROUNDS * _WORDS)
def _shift(turn: int, word: int) -> int:
    """By how much a round of the permutation moves one word when the other is `word`, 0 to 999."""
    digest = hashlib.sha256(f"{_SALT} {turn} {word}".encode()).digest()
    return int.from_bytes(digest[:8]) % _WORDS


def _resembling(word: str, words: tuple[str, ...]) -> str:
    """A hint at the word that begins most alike; empty if none shares three letters."""
    for length in range(len(word), _SHORTEST_START - 1, -1):
        for found in words:
            if found.startswith(word[:length]):
                return f" (perhaps {found!r})"
    return ""


EXPECTED: Final = f"a whole number from 0 to {MAX_SEED} or a title such as {title_of_seed(0)!r}"
"""What a seed may be, in words."""
