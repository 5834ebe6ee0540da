"""The judge of the fault suite finds each kind of trouble that is planted in a recording."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from services.client.session import Chunk
from services.contract.spec import StreamSpec
from services.contract.timebase import CHUNK_BYTES, TICK_S
from services.edge.stream.mixing import Loop
from tests.faults.support import unnoticed
from tests.support.clicks import find_clicks
from tests.support.judge import Verdict, judge, rendered
from tests.support.recorder import Recorder

SPEC = StreamSpec(seed=900)
FIRST = 17_950_000_000
COUNT = 40
Said = list[tuple[int, bytes, float]]
"""Id, sound, seconds of arrival."""


@pytest.fixture(scope="module")
def music() -> dict[int, bytes]:
    return rendered(SPEC, range(FIRST, FIRST + COUNT))


@pytest.fixture
def said(music: dict[int, bytes]) -> Said:
    """A perfect recording: the first chunks immediately, the others in time."""
    return [(FIRST + number, music[FIRST + number], max(0, number - 8) * TICK_S) for number in range(COUNT)]


def verdict(
    said: Sequence[tuple[int, bytes, float]], *, ended_s: float | None = None, spec: StreamSpec = SPEC
) -> Verdict:
    recorder = Recorder("ws://nowhere/ws", spec)
    recorder.ended_s = ended_s
    for chunk_id, pcm, at_s in said:
        recorder.client._note(Chunk(chunk_id, pcm, 1, "normal", at_s, at_s, at_s))
        recorder.played.append((chunk_id, pcm))
    return judge([recorder], struck_s=0.5, well_s=1.0)


def test_a_perfect_recording_is_unnoticed(said: Said) -> None:
    assert unnoticed(verdict(said))
    assert verdict(said).recovered_s == 0


def test_chunks_that_never_came_are_missing(said: Said) -> None:
    found = verdict(said[:20] + said[23:])
    assert found.missing == 3
    assert found.recovered_s == pytest.approx(23 * TICK_S - 0.8 - 1.0)


def test_a_chunk_that_came_twice_is_repeated(said: Said) -> None:
    assert verdict([*said[:20], said[19], *said[20:]]).repeated == 1


def test_chunks_that_came_too_late_leave_silence(said: Said) -> None:
    late = [(chunk_id, pcm, at_s + (2.0 if number >= 20 else 0)) for number, (chunk_id, pcm, at_s) in enumerate(said)]
    # The player held eight chunks and has begun with the first.
    assert verdict(late).silence_s == pytest.approx(2.0 - 0.8 - 0.1, abs=0.11)


def test_music_that_ends_before_its_listener_leaves_is_silence(said: Said) -> None:
    assert verdict(said, ended_s=3.2).silence_s == 0
    found = verdict(said[:20], ended_s=5.0)
    assert found.silence_s == pytest.approx(5.0 - 2.0, abs=0.11)
    assert found.recovered_s == pytest.approx(5.0 - 1.0)


def test_a_step_in_the_sound_is_a_click(said: Said) -> None:
    chunk_id, pcm, at_s = said[20]
    broken = pcm[: CHUNK_BYTES // 2] + said[5][1][CHUNK_BYTES // 2 :]
    found = verdict([*said[:20], (chunk_id, broken, at_s), *said[21:]])
    assert found.clicks >= 1
    assert found.wrong == 1


def test_attacks_of_plucked_notes_are_no_clicks_and_a_click_beside_them_is_one() -> None:
    spec = StreamSpec(preset="lantern", intensity_steps=16, seed=901)
    music = rendered(spec, range(FIRST, FIRST + 300))
    said = [(FIRST + number, music[FIRST + number], max(0, number - 8) * TICK_S) for number in range(300)]
    sound = np.frombuffer(b"".join(pcm for _, pcm, _ in said), "<i2").reshape(-1, 2) / 32768
    assert len(find_clicks(sound)) > 5, "this music is not plucked: take another"
    assert unnoticed(verdict(said, spec=spec))
    # A loop over the same music brings its attacks again.
    loop = Loop([pcm for _, pcm, _ in said[:100]])
    looped = [(chunk_id, bytes(loop.take()), at_s) for chunk_id, _, at_s in said[99:200]]
    assert verdict([*said[:99], *looped], spec=spec).clicks == 0
    # A lost chunk is a click, wherever it lies.
    found = [verdict([*said[:place], *said[place + 1 :]], spec=spec).clicks for place in range(20, 280, 20)]
    assert sum(count > 0 for count in found) >= len(found) - 2


def test_another_streams_sound_is_wrong(said: Said) -> None:
    other = rendered(StreamSpec(seed=901), [FIRST])[FIRST + 5]
    assert verdict([*said[:20], (said[20][0], other, said[20][2]), *said[21:]]).wrong == 1


def test_one_wrong_bit_is_wrong(said: Said) -> None:
    chunk_id, pcm, at_s = said[20]
    broken = bytes((pcm[0] ^ 1,)) + pcm[1:]
    assert verdict([*said[:20], (chunk_id, broken, at_s), *said[21:]]).wrong == 1


def test_the_edges_loop_is_no_wrong_stream(said: Said) -> None:
    loop = Loop([pcm for _, pcm, _ in said[:20]])
    looped = [(chunk_id, bytes(loop.take()), at_s) for chunk_id, _, at_s in said[19:34]]
    found = verdict([*said[:19], *looped])
    assert (found.wrong, found.looped_s) == (0, 1.5)
