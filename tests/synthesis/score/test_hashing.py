from __future__ import annotations

import numpy as np

from services.synthesis.score.hashing import Dice


def test_draws_are_those_of_splitmix64() -> None:
    # The first outputs of SplitMix64 seeded with 0, as published with the algorithm.
    assert Dice(0).bits(0) == 0xE220A8397B1DCDAF
    assert Dice(0).bits(1) == 0x6E789E6AA1B965F4
    assert Dice(0).bits(2) == 0x06C45D188009454F


def test_an_array_of_words_draws_the_same_as_one_word_at_a_time() -> None:
    dice = Dice(0).at(7, 2**32 - 1)
    words = np.array([0, 1, 2, 99, 2**40, -1], np.int64)
    assert dice.bits_at(words).tolist() == [dice.bits(int(word)) for word in words]
    assert dice.units_at(words).tolist() == [dice.unit(int(word)) for word in words]


def test_a_path_of_words_is_not_its_sum_nor_its_reverse() -> None:
    dice = Dice(5)
    assert len({dice.bits(1, 2), dice.bits(2, 1), dice.bits(3), dice.bits(0, 3), dice.bits(1, 1, 1)}) == 5
    assert dice.at(1).bits(2) == dice.bits(1, 2)


def test_units_fill_zero_to_one_evenly() -> None:
    units = Dice(1).units_at(np.arange(20_000))
    assert units.min() >= 0
    assert units.max() < 1
    counts, _ = np.histogram(units, bins=20, range=(0, 1))
    assert counts.min() > 850
    assert counts.max() < 1150


def test_neighbouring_seeds_share_nothing() -> None:
    words = np.arange(5_000)
    first, second = (Dice(0).at(seed).units_at(words) for seed in (0, 1))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.05


def test_an_order_is_a_permutation_and_differs_by_place() -> None:
    dice = Dice(3)
    assert sorted(dice.order(12, 1)) == list(range(12))
    assert dice.order(12, 1) == dice.order(12, 1)
    assert dice.order(12, 1) != dice.order(12, 2)


def test_below_reaches_every_number_and_no_other() -> None:
    assert {Dice(9).below(5, word) for word in range(200)} == {0, 1, 2, 3, 4}
