from __future__ import annotations

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.errors import FieldError
from services.contract.spec import StreamSpec
from services.contract.title_words import ADJECTIVES, NOUNS
from services.contract.titles import MAX_SEED, PAIRS, seed_of_title, title_of_seed

GOLDEN = {
    0: "Tranquil Pond",
    1: "Scented Rookery",
    2: "Perfumed Impromptu",
    7: "Blended Leaf",
    70_000: "Spare Minuet",
    999_999: "Immaculate Polonaise",
    1_000_000: "Tranquil Pond 2",
    MAX_SEED: "Starlit Wisteria 4295",
}
"""Titles that people have noted: they never change."""


@pytest.mark.parametrize(("seed", "title"), GOLDEN.items())
def test_a_title_is_the_same_for_ever(seed: int, title: str) -> None:
    assert title_of_seed(seed) == title
    assert seed_of_title(title) == seed
    assert StreamSpec(seed=seed).title == title


def test_the_words_are_the_same_for_ever() -> None:
    words = " ".join((*ADJECTIVES, *NOUNS))
    assert hashlib.sha256(words.encode()).hexdigest()[:16] == "7a2a8af3010ed9ca"


def test_there_are_a_thousand_words_of_each_kind_and_none_is_of_both() -> None:
    assert len(set(ADJECTIVES)) == len(ADJECTIVES) == 1000
    assert len(set(NOUNS)) == len(NOUNS) == 1000
    assert not set(ADJECTIVES) & set(NOUNS)
    assert all(re.fullmatch("[a-z]{3,13}", word) for word in (*ADJECTIVES, *NOUNS))


def test_the_first_million_seeds_have_a_million_different_titles_of_two_words() -> None:
    # Every pair comes back as the seed that it names; so no two seeds share one. A sample of rows: 40,000 pairs.
    seeds = {seed_of_title(f"{adjective} {noun}") for adjective in ADJECTIVES[::25] for noun in NOUNS}
    assert len(seeds) == 40_000
    assert min(seeds) >= 0
    assert max(seeds) < PAIRS == 1_000_000


@given(st.integers(0, MAX_SEED))
def test_every_seed_comes_back_from_its_title(seed: int) -> None:
    assert seed_of_title(title_of_seed(seed)) == seed


@pytest.mark.parametrize(
    "title",
    [
        "tranquil pond 2",
        "TRANQUIL POND 2",
        "tranquil-pond-2",
        "Tranquil_Pond_2",
        "tranquil+pond+2",
        " Tranquil  Pond 2 ",
    ],
)
def test_a_title_is_read_however_it_is_parted_and_capitalised(title: str) -> None:
    assert seed_of_title(title) == 1_000_000


@pytest.mark.parametrize(
    ("title", "hint"),
    [
        ("", "or a title such as 'Tranquil Pond'"),
        ("pond", "or a title such as 'Tranquil Pond'"),
        ("tranquilpond", "or a title such as 'Tranquil Pond'"),
        ("7", "or a title such as 'Tranquil Pond'"),
        ("tranquil pond two", "or a title such as 'Tranquil Pond'"),
        ("tranquil pond 02", "or a title such as 'Tranquil Pond'"),
        ("tranquil ponds", r"no title ends in 'ponds' \(perhaps 'pond'\)"),
        ("tranquill pond", r"no title begins with 'tranquill' \(perhaps 'tranquil'\)"),
        ("pond tranquil", "no title begins with 'pond'"),
        ("tranquil pond 1", "no number behind the words, or one from 2 to 4295"),
        ("tranquil pond 4296", "no number behind the words, or one from 2 to 4295"),
        ("tranquil pond " + " " * 1000 + "2", "or a title such as 'Tranquil Pond'"),
    ],
)
def test_what_is_no_title_is_refused_with_a_hint(title: str, hint: str) -> None:
    with pytest.raises(FieldError, match=hint) as caught:
        seed_of_title(title)
    assert caught.value.field == "seed"


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1])
def test_a_seed_out_of_range_has_no_title(seed: int) -> None:
    with pytest.raises(FieldError, match="0 to 4294967295"):
        title_of_seed(seed)


def test_a_title_stands_where_a_seed_does() -> None:
    spec = StreamSpec.from_params({"seed": "scented rookery"})
    assert spec == StreamSpec(seed=1)
    assert spec.updated({"seed": "Tranquil Pond"}).seed == 0
    assert spec.stream_id == "c-dorian-70-50-drift-1"
    assert StreamSpec.from_id("c-dorian-70-50-drift-scented-rookery") == spec
    steered = StreamSpec.from_id("c-dorian-70-50-drift-tranquil-pond-2-b70-pad0")
    assert steered.stream_id == "c-dorian-70-50-drift-1000000-b70-pad0"


@pytest.mark.parametrize(
    "stream_id",
    [
        "c-dorian-70-50-drift-scented-nothing",
        "c-dorian-70-50-drift-scented",
        "c-dorian-070-50-drift-scented-rookery",
        "c-dorian-70-50-drift-Scented-Rookery",
        "c-dorian-70-50-drift-scented-rookery-1",
        "c-dorian-70-50-drift-scented-rookery-b50",
    ],
)
def test_an_address_with_a_title_is_as_strict_in_all_else(stream_id: str) -> None:
    with pytest.raises(FieldError):
        StreamSpec.from_id(stream_id)
