"""`auralis render --plot`: the picture, and the errors if none can be drawn."""

from __future__ import annotations

import importlib.util
import wave
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from services.contract.spec import StreamSpec
from services.local.render.plot import draw, spectrogram_db
from services.local.render.run import Files, plot_problem, run_render

RATE_HZ = 44_100
SPEC = StreamSpec(key="D", preset="aurora")


def _write(path: Path, sound: NDArray[np.float64]) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(np.rint(sound * 32767).astype("<i2").tobytes())
    return path


def _tone(seconds: float, hz: float = 1_000.0) -> NDArray[np.float64]:
    wave_form = 0.25 * np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE_HZ)) / RATE_HZ)
    return np.stack((wave_form, wave_form), axis=1)


def test_a_tone_is_a_line_at_its_frequency_and_level() -> None:
    image = spectrogram_db(np.concatenate((_tone(2.0), 0.0 * _tone(2.0))).astype(np.float32))
    hz = np.geomspace(30.0, 20_000.0, len(image) + 1)
    row = int(np.argmax(image[:, image.shape[1] // 4]))
    assert hz[row] * 0.98 <= 1_000.0 <= hz[row + 1] * 1.02
    assert image[row].max() == pytest.approx(20 * np.log10(0.25), abs=1.5)
    # The second half is silent.
    assert image[:, image.shape[1] * 3 // 4].max() < -120.0


@pytest.mark.parametrize("seconds", [0.05, 1.0, 9.0])
def test_a_picture_of_any_length_is_drawn(tmp_path: Path, seconds: float) -> None:
    picture = tmp_path / "out.png"
    draw(SPEC, _write(tmp_path / "out.wav", _tone(seconds)), picture, start_block=1_785_000_000)
    with Image.open(picture) as image:
        assert image.size == (1600, 1800)
        assert len(image.convert("RGB").getcolors(maxcolors=2**24) or []) > 500


def test_other_sound_changes_the_spectrogram_and_another_score_the_notes(tmp_path: Path) -> None:
    files = {name: _write(tmp_path / f"{name}.wav", _tone(6.0, hz)) for name, hz in (("low", 200.0), ("high", 3e3))}

    def pixels(name: str, spec: StreamSpec) -> NDArray[np.int16]:
        draw(spec, files[name], tmp_path / "a.png", start_block=1_785_000_100)
        with Image.open(tmp_path / "a.png") as image:
            return np.asarray(image.convert("RGB"), dtype=np.int16)

    one, again, other = pixels("low", SPEC), pixels("low", SPEC), pixels("high", SPEC)
    assert np.array_equal(one, again)
    # The score is above, the spectrogram below.
    differs = np.abs(one - other).sum(axis=2) > 60
    assert differs[600:860].mean() > 0.005
    assert differs[110:440].mean() < 0.001
    # The form of the hour is the score's alone.
    assert differs[1480:1740].mean() < 0.001
    lantern = pixels("low", StreamSpec(key="D", preset="lantern"))
    assert (np.abs(one - lantern).sum(axis=2) > 60)[1480:1740].mean() > 0.01
    assert (np.abs(one - lantern).sum(axis=2) > 60)[110:440].mean() > 0.01


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find(name))
    assert "uv pip install -e '.[plot]'" in plot_problem(tmp_path / "out.png")


def test_a_suffix_of_no_picture_format_is_an_error_before_rendering(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sound = tmp_path / "out.wav"
    status = run_render(SPEC, Files(sound, tmp_path / "out.mp4"), seconds=1.0, start_block=0)
    assert status == 1
    assert "got '.mp4', expected a picture: .png" in capsys.readouterr().err
    assert not sound.exists()


def test_a_missing_folder_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = run_render(SPEC, Files(tmp_path / "a.wav", tmp_path / "no" / "a.png"), seconds=1.0, start_block=0)
    assert status == 1
    assert "does not exist" in capsys.readouterr().err
