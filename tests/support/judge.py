"""The judge of the fault suite: what listeners heard that was missing, doubled, silent, clicking or foreign.

The music is a pure function of spec and tick. The judge renders each chunk offline, with the services' own renderer,
and compares byte for byte. A chunk that differs must be one that the edge may play instead: its loop over the stream's
own last bars, or a crossfade between the two. Anything else is a wrong stream.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.contract.spec import StreamSpec
from services.contract.timebase import (
    CHANNELS,
    CHUNK_FRAMES,
    CHUNKS_PER_BLOCK,
    FRAME_BYTES,
    TICK_S,
    block_of,
    first_tick,
)
from services.edge.stream.mixing import crossfade
from services.edge.stream.ring import MAX_LOOP_CHUNKS
from services.synthesis.device_selector import AutoDeviceSelector
from services.synthesis.render.renderer import Renderer
from tests.support.clicks import find_clicks
from tests.support.recorder import Heard, Recorder

START_CHUNKS: Final = 2
"""Chunks that a player holds when it begins, as services.client and the page do."""
AHEAD_BLOCKS: Final = 3
"""Blocks that an edge may hold ahead of what its listeners have heard."""
ATTACK_THRESHOLD: Final = 6.0
"""Half of what counts as a click: an attack beside a seam is predicted a little better or worse than in the music."""
SAME_ATTACK_FRAMES: Final = 300
OPUS_ATTACK_FRAMES: Final = 2_000
"""A lossy codec smears an attack over its frame and the one before."""
GAP_S: Final = 0.5
"""Chunks come every 100 ms. A longer pause between two of them is a fault, heard or not."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Verdict on some listeners together.

    Attributes:
        listeners, chunks: how many; chunks are counted as they arrived.
        missing, repeated: ids that never came; ids that came twice without a splice.
        silence_s: longest time that one player had nothing to play.
        clicks: in the played audio, but for the attacks of struck and plucked notes.
        looped_s: longest time that one of them heard the edge's loop.
        wrong: chunks that are neither their stream's sound at that tick, nor its loop, nor a crossfade of these.
        recovered_s: from the end of the fault to the last bad chunk; 0 without one.
        reconnects: repeated connections.
    """

    listeners: int
    chunks: int
    missing: int
    repeated: int
    silence_s: float
    clicks: int
    looped_s: float
    wrong: int
    recovered_s: float
    reconnects: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@lru_cache(maxsize=1)
def renderer() -> Renderer:
    """The services' own renderer on this machine's processor, one for all tests of this process."""
    made = Renderer(AutoDeviceSelector("cpu").select_device())
    made.warm_up()
    return made


def rendered(spec: StreamSpec, ticks: Collection[int]) -> dict[int, bytes]:
    """Audio of `spec` at each of the ticks, and for the length of a loop before the first."""
    near = {block_of(tick) for tick in ticks}
    loop_blocks = MAX_LOOP_CHUNKS // CHUNKS_PER_BLOCK
    blocks = sorted({block + offset for block in near for offset in range(-loop_blocks, AHEAD_BLOCKS + 1)})
    sound = renderer().render([(spec, block) for block in blocks]).pcm.astype("<i2", copy=False)
    return {
        first_tick(block) + chunk: sound[row, chunk].tobytes()
        for row, block in enumerate(blocks)
        for chunk in range(CHUNKS_PER_BLOCK)
    }


def judge(
    listening: Sequence[Recorder],
    *,
    struck_s: float,
    well_s: float,
    also: Callable[[StreamSpec], StreamSpec] | None = None,
) -> Verdict:
    """Judge the recordings of some listeners.

    Args:
        listening: the listeners, after their end.
        struck_s: when the fault began, monotonic; earlier trouble is reported as well.
        well_s: when the fault was over: the process restarted, the connection restored.
        also: a second stream whose music is right too, for a change of revision.
    """
    for recorder in listening:
        assert not recorder.problem, recorder.problem
    summaries = [recorder.client.arrivals.summary() for recorder in listening]
    kinds = {recorder: _kinds(recorder, also) for recorder in listening if recorder.format != "opus"}
    trouble_s = [_trouble_until_s(recorder, kinds.get(recorder), struck_s) for recorder in listening]
    return Verdict(
        listeners=len(listening),
        chunks=sum(len(recorder.arrived) for recorder in listening),
        missing=sum(each.missing_chunks for each in summaries),
        repeated=sum(each.repeats for each in summaries),
        silence_s=round(max(_silence_s(recorder) for recorder in listening), 2),
        clicks=sum(_clicks(recorder, also) for recorder in listening),
        looped_s=round(max((sum(kind != "live" for kind in each) for each in kinds.values()), default=0) * TICK_S, 1),
        wrong=sum(kind == "wrong" for each in kinds.values() for kind in each),
        recovered_s=round(max(0.0, max(trouble_s, default=0.0) - well_s), 2),
        reconnects=sum(each.reconnects for each in summaries),
    )


def _kinds(recorder: Recorder, also: Callable[[StreamSpec], StreamSpec] | None = None) -> list[str]:
    """For each chunk that arrived: live, loop, fade or wrong."""
    ids = [heard.id for heard in recorder.arrived]
    places = _places(recorder)
    # After a jump of the edge's clock the sound of the old time goes on for a moment.
    going_on = [
        place - before
        for (index, _), before in zip(recorder.moves, _offsets(recorder), strict=False)
        for place in places[index : index + MAX_LOOP_CHUNKS]
    ]
    expected = rendered(recorder.spec, ids + going_on)
    other = rendered(also(recorder.spec), ids) if also else {}
    by_sound = {pcm: tick for tick, pcm in expected.items()}
    seams: set[bytes] = set()
    kinds: list[str] = []
    newest = min(ids, default=0)
    for heard, place, offsets in zip(recorder.arrived, places, _offsets_so_far(recorder), strict=True):

        def is_past(tick: int, place: int = place, offsets: Sequence[int] = offsets) -> bool:
            older = any(place - MAX_LOOP_CHUNKS - 600 <= tick + offset <= place for offset in offsets[:-1])
            return older or place - MAX_LOOP_CHUNKS - 600 <= tick + offsets[-1] < place

        if heard.pcm in (expected[heard.id], other.get(heard.id)):
            kinds.append("live")
        elif other and heard.pcm == crossfade(expected[heard.id], other[heard.id]):
            kinds.append("fade")
        elif is_past(by_sound.get(heard.pcm, -1)) or heard.pcm in seams:
            kinds.append("loop")
        elif _is_fade(
            heard, expected, [pcm for tick, pcm in expected.items() if is_past(tick)], seams
        ) or _is_loops_beginning(heard.pcm, newest, [place - offset for offset in offsets[:-1]], expected):
            seams.add(heard.pcm)
            kinds.append("fade")
        else:
            kinds.append("wrong")
        newest = heard.id if kinds[-1] == "live" else newest
    return kinds


def _is_loops_beginning(pcm: bytes, newest: int, olds: Sequence[int], expected: dict[int, bytes]) -> bool:
    """Whether it fades from the end of what the edge had of the old time into the beginning of its loop.

    Args:
        pcm: the chunk.
        newest: the last tick that was heard as rendered.
        olds: ticks that this place would have without the last jumps of the clock.
        expected: sound by tick.
    """
    ends = [expected[tick] for tick in range(newest, newest + AHEAD_BLOCKS * CHUNKS_PER_BLOCK) if tick in expected]
    begins = [expected[tick] for tick in range(newest - MAX_LOOP_CHUNKS, newest + 1) if tick in expected]
    if any(pcm == crossfade(end, begin) for end in ends for begin in begins):
        return True
    # A loop after several jumps may begin before the one before the last.
    coming = [expected[tick] for tick in olds if tick in expected]
    return any(pcm == crossfade(end, begin) for end in coming for begin in expected.values())


def _offsets(recorder: Recorder) -> list[int]:
    """By how much ids are smaller than places: before the first jump of the edge's clock, after it, and so on."""
    offsets = [0]
    for _, smaller in recorder.moves:
        offsets.append(offsets[-1] + smaller)
    return offsets


def _offsets_so_far(recorder: Recorder) -> list[list[int]]:
    """For each chunk that arrived the offsets until then, its own last."""
    offsets = _offsets(recorder)
    jumps = [index for index, _ in recorder.moves]
    return [offsets[: 1 + sum(jump <= index for jump in jumps)] for index in range(len(recorder.arrived))]


def _places(recorder: Recorder) -> list[int]:
    """For each chunk that arrived the id that it would have without the jumps of the edge's clock."""
    offsets = [each[-1] for each in _offsets_so_far(recorder)]
    return [heard.id + offset for heard, offset in zip(recorder.arrived, offsets, strict=True)]


def _is_fade(heard: Heard, expected: dict[int, bytes], past: Sequence[bytes], seams: Iterable[bytes]) -> bool:
    """Whether it is a crossfade between the stream at this tick and the stream's own past."""
    here = expected[heard.id]
    return any(heard.pcm in (crossfade(here, other), crossfade(other, here)) for other in (*past, *seams))


def _silence_s(recorder: Recorder) -> float:
    """How long a player that began with its second chunk had nothing to play before the listener left."""
    silence_s = 0.0
    until_s: float | None = None
    newest = -1
    for index, (heard, place) in enumerate(zip(recorder.arrived, _places(recorder), strict=True)):
        if place <= newest:
            continue
        newest = place
        if index < START_CHUNKS:
            until_s = heard.at_s + START_CHUNKS * TICK_S
            continue
        assert until_s is not None
        silence_s += max(0.0, heard.at_s - until_s)
        until_s = max(until_s, heard.at_s) + TICK_S
    # Music that ended leaves no late chunk behind, so its end counts as silence.
    if recorder.ended_s is not None and until_s is not None:
        silence_s += max(0.0, recorder.ended_s - until_s)
    return silence_s


def _clicks(recorder: Recorder, also: Callable[[StreamSpec], StreamSpec] | None) -> int:
    """How many clicks the listener heard that are not attacks of the music's own notes."""
    clicks = find_clicks(_sound(pcm for _, pcm in recorder.played))
    if not clicks:
        return 0
    ids = [chunk_id for chunk_id, _ in recorder.played]
    music = [rendered(spec, ids) for spec in (recorder.spec, *((also(recorder.spec),) if also else ()))]
    attacks = [_attacks(expected) for expected in music]
    ends = np.cumsum([len(pcm) for _, pcm in recorder.played]) // FRAME_BYTES
    near = OPUS_ATTACK_FRAMES if recorder.format == "opus" else SAME_ATTACK_FRAMES
    count = 0
    for click in clicks:
        index = int(np.searchsorted(ends, click.frame, side="right"))
        inside = click.frame - (int(ends[index - 1]) if index else 0)
        frames = [
            (tick - own) * CHUNK_FRAMES + frame
            for expected, found in zip(music, attacks, strict=True)
            for own in _sources(recorder, index, expected)
            for tick in (own - 1, own, own + 1)
            for frame in found.get(tick, ())
        ]
        count += not any(abs(frame - inside) <= near for frame in frames)
    return count


def _sources(recorder: Recorder, index: int, expected: dict[int, bytes]) -> set[int]:
    """Ticks whose sound may be in a chunk: its own, where it was taken from, and what its neighbours go on with."""
    found = {recorder.played[index][0]}
    by_sound = {pcm: tick for tick, pcm in expected.items()}
    for beside in (-1, 0, 1):
        if 0 <= index + beside < len(recorder.played):
            chunk_id, pcm = recorder.played[index + beside]
            found.add(by_sound.get(pcm, chunk_id) - beside)
    return found


@lru_cache(maxsize=32)
def _attacks_of_run(run: tuple[bytes, ...]) -> list[tuple[int, int]]:
    """(chunk, frame in it) of each place in a run of chunks that linear prediction does not expect."""
    return [divmod(click.frame, CHUNK_FRAMES) for click in find_clicks(_sound(run), threshold=ATTACK_THRESHOLD)]


def _attacks(expected: dict[int, bytes]) -> dict[int, list[int]]:
    """Frames of the music's own attacks, by tick."""
    found: dict[int, list[int]] = {}
    ticks = sorted(expected)
    begins = [index for index, tick in enumerate(ticks) if not index or ticks[index - 1] != tick - 1]
    for begin, end in zip(begins, [*begins[1:], len(ticks)], strict=True):
        for chunk, frame in _attacks_of_run(tuple(expected[tick] for tick in ticks[begin:end])):
            found.setdefault(ticks[begin] + chunk, []).append(frame)
    return found


def _sound(chunks: Iterable[bytes]) -> NDArray[np.float64]:
    sound = np.frombuffer(b"".join(chunks), "<i2").reshape(-1, CHANNELS)
    return np.asarray(sound.astype(np.float64) / 32_768)


def _trouble_until_s(recorder: Recorder, kinds: list[str] | None, struck_s: float) -> float:
    """Arrival of the last chunk that was late, out of place or not the stream's own; the end if it was silent."""
    until_s = 0.0
    places = _places(recorder)
    for index, heard in enumerate(recorder.arrived):
        before = recorder.arrived[index - 1] if index else heard
        late = heard.at_s - before.at_s > GAP_S
        jump = index > 0 and places[index] > places[index - 1] + 1
        if heard.at_s > struck_s and (late or jump or (kinds is not None and kinds[index] != "live")):
            until_s = heard.at_s
    if recorder.ended_s is not None and recorder.arrived and recorder.ended_s - recorder.arrived[-1].at_s > GAP_S:
        until_s = recorder.ended_s
    return until_s
