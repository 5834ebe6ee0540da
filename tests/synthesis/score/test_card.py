from __future__ import annotations

import itertools
import math

from services.synthesis.score.card import card_of

CARDS = [card_of(seed) for seed in range(200)]


def test_a_card_is_always_the_same_and_no_two_are() -> None:
    assert card_of(3) == CARDS[3]
    assert len(set(CARDS)) == len(CARDS)


def test_themes_sing() -> None:
    """Steps prevail; a leap is followed by moves in the other direction; nothing runs away."""
    moves = [move for card in CARDS for theme in card.themes for move in theme]
    assert sum(abs(move) == 1 for move in moves) > 0.7 * len(moves)
    for card in CARDS:
        for theme in card.themes:
            assert len(theme) == 8
            for move, after in itertools.pairwise(theme):
                if abs(move) >= 3:
                    assert after * move < 0
            heights = list(itertools.accumulate(theme))
            assert max(heights) - min(heights) <= 12


def test_the_themes_of_a_piece_differ() -> None:
    assert all(len(set(card.themes)) == 3 for card in CARDS)


def test_periods_of_a_piece_share_no_divisor() -> None:
    for card in CARDS:
        periods = (*card.drone_periods_s, *card.cycle_periods_s)
        assert all(math.gcd(one, other) == 1 for one, other in itertools.combinations(periods, 2))


def test_pieces_have_favourites() -> None:
    assert len({card.never for card in CARDS}) == 5
    assert len({card.centres for card in CARDS}) > 60
    assert len({card.ground for card in CARDS}) > 190
    assert {card.register for card in CARDS} == set(range(-6, 7))
