from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from services.contract.spec import StreamSpec
from services.synthesis.render.offline import render_to_wav
from services.synthesis.render.renderer import Renderer

SPEC = StreamSpec(key="D", preset="lantern")


def _read(path: Path) -> tuple[np.ndarray, wave._wave_params]:
    with wave.open(str(path), "rb") as file:
        return np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").reshape(-1, 2), file.getparams()


def test_the_file_holds_what_a_listener_would_get(tmp_path: Path, renderer: Renderer) -> None:
    path = tmp_path / "out.wav"
    result = render_to_wav(SPEC, 3.25, path, start_block=1_700_000_000, renderer=renderer)
    sound, parameters = _read(path)
    assert parameters[:4] == (2, 2, 44_100, round(3.25 * 44_100))
    live = [renderer.render([(SPEC, 1_700_000_000 + second)]).pcm.reshape(-1, 2) for second in range(4)]
    assert np.array_equal(sound, np.concatenate(live)[: len(sound)])
    assert result.seconds == pytest.approx(3.25)
    assert result.times_realtime == pytest.approx(3.25 / result.wall_s)
    assert result.mode == renderer.mode


def test_progress_rises_to_one(tmp_path: Path, renderer: Renderer) -> None:
    told: list[float] = []
    render_to_wav(SPEC, 70.0, tmp_path / "out.wav", told.append, renderer=renderer)
    assert told == sorted(told)
    assert len(told) == 3
    assert told[-1] == 1.0


@pytest.mark.parametrize(
    ("seconds", "start", "problem"), [(0.0, 0, "seconds"), (-1.0, 0, "seconds"), (1.0, -1, "start_block")]
)
def test_what_cannot_be_rendered_is_named(
    tmp_path: Path, renderer: Renderer, seconds: float, start: int, problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        render_to_wav(SPEC, seconds, tmp_path / "out.wav", start_block=start, renderer=renderer)


def test_a_folder_that_is_not_there_is_the_systems_error(tmp_path: Path, renderer: Renderer) -> None:
    with pytest.raises(FileNotFoundError):
        render_to_wav(SPEC, 1.0, tmp_path / "no" / "out.wav", renderer=renderer)
