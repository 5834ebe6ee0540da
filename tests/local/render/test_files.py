"""The files of `auralis render` that hold the score, and the errors if none can be written."""

from __future__ import annotations

import json
from pathlib import Path

import mido
import pytest
from click.testing import CliRunner

from services import cli


def render(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli.main, ["render", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


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
        ((), "give at least one of OUT.wav, --midi OUT.mid"),
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
        ("--score", "x" * 300 + ".json", "File name too long."),
    ],
)
def test_a_file_that_cannot_be_written_is_named(option: str, name: str, said: str, tmp_path: Path) -> None:
    status, text = render(option, str(tmp_path / name))
    assert status == 1
    assert said in text
    assert text.startswith(str(tmp_path / name))
    assert list(tmp_path.iterdir()) == []
