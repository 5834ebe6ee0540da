"""Tails: what rooms answer to bright partials."""

from __future__ import annotations

import numpy as np
import pytest

from services.contract.timebase import SAMPLE_RATE_HZ
from services.synthesis.dsp.control import COLUMNS, Column
from services.synthesis.dsp.grid import INTERVAL_FRAMES, SPLIT_HZ
from services.synthesis.packing.partials import Partials, as_word, pack_words
from services.synthesis.packing.table import INCREMENT, ONSET, PHASE, WIDTH
from services.synthesis.packing.tails import FAINT, TOP_HZ, tail_power, tails
from services.synthesis.sound.room import Room, impulse_response
from tests.synthesis.listening import db

ROOM = Room(rt60_mid_s=4.0, rt60_high_s=3.0, tilt_db=-6.0)
HELD_S = 2.0
COUNT = 400


def _partials(hz: float, *, send: float = 0.05, fade_s: float = 0.0, count: int = COUNT) -> Partials:
    """Partials of `hz` with phases of their own, held for HELD_S; fade_s is their own decay to -60 dB."""
    shape = (count, 1)
    rate = 3.0 * np.log(10.0) / (fade_s * SAMPLE_RATE_HZ) if fade_s else 0.0
    values = {
        Column.ATTACK_RATE: 1.0 / 441.0,
        Column.SUSTAIN: 1.0,
        Column.HOLD: HELD_S * SAMPLE_RATE_HZ,
        Column.RELEASE_RATE: 1.0 / 4_410.0,
        Column.GAIN_LEFT: 0.1,
        Column.GAIN_RIGHT: 0.1,
        Column.GAIN_SEND: send,
        Column.FADE_RATE: rate / 64.0,
    }
    phase = np.random.default_rng(3).uniform(0.0, 2.0**32, shape)
    increment = np.full(shape, np.rint(hz * 2.0**32 / SAMPLE_RATE_HZ))
    words = pack_words(
        shape, values, {PHASE: as_word(phase), INCREMENT: as_word(increment), ONSET: 10 * INTERVAL_FRAMES}
    )
    last = np.full(count, round((HELD_S + 0.1) * SAMPLE_RATE_HZ), dtype=np.int64)
    return Partials(words.reshape(-1, WIDTH), last, np.full(count, hz), np.full(count, send), 0.0)


def _column(partials: Partials, column: Column) -> np.ndarray:
    return partials.words[:, :COLUMNS].view(np.float32)[:, column].astype(np.float64)


@pytest.mark.parametrize(("hz", "count"), [(SPLIT_HZ - 1.0, 0), (SPLIT_HZ, COUNT), (TOP_HZ - 1.0, COUNT), (TOP_HZ, 0)])
def test_partials_from_the_split_to_the_top_have_tails(hz: float, count: int) -> None:
    assert len(tails(_partials(hz), ROOM).hz) == count


def test_what_is_not_sent_or_answered_too_quietly_has_none() -> None:
    assert len(tails(_partials(5_000.0, send=0.0), ROOM).hz) == 0
    assert len(tails(_partials(5_000.0, send=FAINT), ROOM).hz) < COUNT / 4


def test_a_tail_begins_after_its_partial_on_a_control_point_and_outlasts_it() -> None:
    played = _partials(5_000.0)
    answered = tails(played, ROOM)
    late = answered.words[:, ONSET] - played.words[:, ONSET]
    assert (late % INTERVAL_FRAMES == 0).all()
    assert late.min() >= 3 * INTERVAL_FRAMES
    assert late.max() <= 0.06 * SAMPLE_RATE_HZ
    # It falls as a release does, (1 - t)^3: to -60 dB within the room's decay at 5 kHz.
    assert 0.9 / _column(answered, Column.RELEASE_RATE) == pytest.approx(
        3.0 * (3_500 / 5_000) ** 0.7 * 44_100, rel=1e-3
    )
    assert (answered.last_frame > played.last_frame + SAMPLE_RATE_HZ).all()


def test_a_struck_partial_leaves_a_tail_that_dies_at_the_rooms_pace_and_is_quieter_the_shorter_it_was() -> None:
    short, long, held = (tails(_partials(5_000.0, fade_s=fade_s), ROOM) for fade_s in (0.1, 0.8, 0.0))
    pace = 3.0 * np.log(10.0) / (3.0 * (3_500 / 5_000) ** 0.7 * SAMPLE_RATE_HZ)
    for struck in (short, long):
        assert 64.0 * _column(struck, Column.FADE_RATE) == pytest.approx(pace, rel=1e-3)
    loud = [np.sqrt((_column(part, Column.GAIN_LEFT) ** 2).mean()) for part in (short, long, held)]
    assert loud[0] < loud[1] < loud[2]


def test_what_dies_more_slowly_than_the_room_keeps_its_own_pace() -> None:
    played = _partials(5_000.0, fade_s=30.0)
    assert _column(tails(played, ROOM), Column.FADE_RATE) == pytest.approx(_column(played, Column.FADE_RATE)[0])


def test_tails_go_on_where_the_response_ends_in_level() -> None:
    response = np.abs(np.fft.rfft(impulse_response(ROOM), axis=1)) ** 2
    hz = np.fft.rfftfreq(impulse_response(ROOM).shape[1], 1.0 / 11_025.0)
    expected = response[:, (hz > 3_500.0) & (hz < SPLIT_HZ)].mean()
    answered = tails(_partials(SPLIT_HZ), ROOM)
    sides = [_column(answered, column) for column in (Column.GAIN_LEFT, Column.GAIN_RIGHT)]
    found = [(side**2).mean() / 0.05**2 for side in sides]
    assert abs(db(np.sqrt(np.mean(found) / expected))) < 2.0
    # On both sides alike, and each tone at a place of its own.
    assert abs(db(np.sqrt(found[0] / found[1]))) < 1.0
    assert abs(np.corrcoef(*sides)[0, 1]) < 0.7


def test_a_darker_room_answers_less_the_higher_the_tone() -> None:
    loud = [np.sqrt((_column(tails(_partials(hz), ROOM), Column.GAIN_LEFT) ** 2).mean()) for hz in (4_200.0, 8_400.0)]
    assert -8.0 < db(loud[1] / loud[0]) < -2.0
    assert tail_power(ROOM) > 0.0
