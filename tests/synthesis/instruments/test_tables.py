"""The measured tables: complete, small, credited."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.instruments.catalogue import RECIPES
from services.synthesis.instruments.files import FOLDER, SUFFIX, load, names
from services.synthesis.instruments.table import decode, encode


def test_every_recipe_has_a_table_and_a_credit() -> None:
    assert sorted(recipe.name for recipe in RECIPES) == names()
    notice = (FOLDER / "NOTICE").read_text()
    for recipe in RECIPES:
        table = load(recipe.name)
        assert (table.name, table.credit, table.sustained) == (recipe.name, recipe.credit, recipe.sustained)
        assert [tone.midi for tone in table.tones] == sorted(p for source in recipe.sources for p in source.pitches)
        assert recipe.credit in notice
        assert recipe.name in notice


def test_an_unknown_instrument_is_refused_by_name() -> None:
    with pytest.raises(FileNotFoundError, match=r"'theremin'.*expected one of celesta, cello"):
        load("theremin")


def test_all_tables_together_stay_below_two_megabytes() -> None:
    assert sum(path.stat().st_size for path in FOLDER.glob(f"*{SUFFIX}")) < 2_000_000


@pytest.mark.parametrize("name", names())
def test_a_note_is_normalised_in_tune_and_continuous(name: str) -> None:
    table = load(name)
    for tone in table.tones:
        assert tone.amplitude.shape == tone.phase.shape == (tone.points, len(tone.ratio))
        assert 0 <= tone.loop < tone.points - 180
        power = (tone.amplitude[:122].astype(np.float64) ** 2).mean(axis=0).sum()
        assert 0.8 < power < 1.25
        assert (np.diff(tone.ratio) > 0).all()
        strongest = tone.ratio[int(np.argmax((tone.amplitude**2).mean(axis=0)))]
        cents = 1_200 * np.log2(strongest / max(round(strongest), 1))
        assert not table.sustained or abs(cents) < 40
        assert np.abs(np.diff(tone.phase, axis=0)).max() <= 0.5


def test_a_file_decodes_to_what_was_encoded() -> None:
    levels = np.array([[0, 255, 130], [7, 8, 9]], np.uint8)
    turns = np.array([[250, 5, 255], [0, 0, 128]], np.uint8)
    note = {"midi": 60, "points": 3, "peak": 0.5, "loop": 1, "release_s": 0.5}
    note |= {"ratio": [1.0, 2.0], "decay_db_s": [0.0, 3.0], "soft_db": [0.0, -2.0]}
    header = {"name": "test", "credit": "public domain", "sustained": True, "notes": [note]}
    tone = decode(encode(header, [(levels, turns)])).tones[0]
    assert tone.amplitude[0, 0] == 0.0
    assert tone.amplitude[1, 0] == pytest.approx(0.5)
    assert tone.amplitude[2, 1] == pytest.approx(0.5 * 10 ** (0.375 * (9 - 255) / 20))
    # Phases take the short way: from 250 to 5 are 11 steps forwards.
    assert np.diff(tone.phase[:, 0]) * 256 == pytest.approx([11, -6])
    assert encode(header, [(levels, turns)]) == encode(header, [(levels, turns)])
