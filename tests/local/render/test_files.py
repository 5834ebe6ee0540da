"""The files of `auralis render` that hold the score, and the errors if none can be written."""

from __future__ import annotations

import json
from pathlib import Path

import mido
import numpy as np
import pytest
from click.testing import CliRunner
from scipy.io import wavfile

from services import cli
from services.contract.spec import LAYERS


def render(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli.main, ["render", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_stems_are_files_of_floats_whose_sum_is_the_sound(tmp_path: Path) -> None:
    out, stems = tmp_path / "out.wav", tmp_path / "stems"
    arguments = ("--preset", "tundra", "--at", "1785000000", "--seconds", "2.5", "--level", "pad=0")
    status, text = render(str(out), "--stems", str(stems), *arguments)
    assert status == 0
    names = [layer for layer in LAYERS if layer != "pad"]
    assert f"{stems}: 6 stems of 2.5 s, before the level stage: {', '.join(names)}." in text
    assert sorted(path.stem for path in stems.iterdir()) == sorted(names)
    sounds = []
    for path in stems.iterdir():
        rate_hz, sound = wavfile.read(path)
        assert (rate_hz, sound.dtype, sound.shape) == (44_100, np.float32, (110_250, 2))
        sounds.append(sound)
    _, heard = wavfile.read(out)
    difference = np.sum(sounds, axis=0, dtype=np.float64) - heard / 32_767
    # The limiter leaves quiet sound alone: only dither and rounding are between the two.
    assert np.abs(heard).max() < 0.5 * 32_767
    assert np.abs(difference).max() < 1.6 / 32_767


def test_stems_that_no_file_holds_are_refused_before_they_are_rendered(tmp_path: Path) -> None:
    status, text = render("--stems", str(tmp_path / "stems"), "--seconds", "20000")
    assert status == 1
    assert text.startswith("--stems: got 20000 s, expected at most 12173 s")
    assert list(tmp_path.iterdir()) == []


def test_score_and_midi_are_written_without_any_sound(tmp_path: Path) -> None:
    midi, score = tmp_path / "out.mid", tmp_path / "out.json"
    arguments = ("--seed", "blended leaf", "--at", "1785000000", "--seconds", "30")
    status, text = render("--midi", str(midi), "--score", str(score), *arguments)
    assert status == 0
    assert mido.MidiFile(midi).length == pytest.approx(30, abs=0.01)
    notes = json.loads(score.read_text())["notes"]
    assert f"{midi}: {len(notes)} notes" in text
    assert "30 s of Blended Leaf" in text
    assert not list(tmp_path.glob("*.wav"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give at least one of OUT.wav, --midi, --score and --stems"),
        (("--plot", "out.png"), "--plot: got out.png and no OUT.wav, expected both"),
    ],
)
def test_nothing_to_write_is_an_error_that_says_what_to_give(arguments: tuple[str, ...], said: str) -> None:
    status, text = render(*arguments)
    assert status == 2
    assert said in " ".join(text.split())


@pytest.mark.parametrize(
    ("option", "name", "said"),
    [
        ("--midi", "out.wav", "got '.wav', expected a MIDI file: .mid, .midi."),
        ("--score", "out", "got 'no suffix', expected a score as JSON: .json."),
        ("--midi", "no/out.mid", "does not exist; make it first."),
        ("--stems", "no/stems", "does not exist; make it first."),
        ("--score", "x" * 300 + ".json", "File name too long."),
    ],
)
def test_a_file_that_cannot_be_written_is_named(option: str, name: str, said: str, tmp_path: Path) -> None:
    status, text = render(option, str(tmp_path / name))
    assert status == 1
    assert said in text
    assert text.startswith(str(tmp_path / name))
    assert list(tmp_path.iterdir()) == []
