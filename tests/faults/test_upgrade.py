"""A rolling upgrade of the renderers, to a build that makes other music."""

from __future__ import annotations

import signal
import time
from itertools import groupby

from services.contract.timebase import TICK_S
from tests.faults.support import Figures, fault, listen_on
from tests.support.fleet import Fleet
from tests.support.judge import judge, rendered
from tests.support.next_revision import transposed
from tests.support.recorder import Recorder, recorders

STREAMS = range(500, 506)


def sides(recorder: Recorder, count: int | None = None) -> list[str]:
    """Revision of each of the first `count` chunks, without repetitions: old, joint, new."""
    arrived = recorder.arrived[:count]
    ids = [heard.id for heard in arrived]
    old, new = rendered(recorder.spec, ids), rendered(transposed(recorder.spec), ids)
    each = [
        "old" if heard.pcm == old[heard.id] else "new" if heard.pcm == new[heard.id] else "joint" for heard in arrived
    ]
    return [side for side, _ in groupby(each)]


@fault(
    "a rolling upgrade: renderers of another revision, with other music, replace the old ones",
    does="each stream moves once, at a block that both revisions have rendered, with a crossfade of 100 ms",
    promise="a rolling upgrade",
)
async def test_a_rolling_upgrade_is_one_crossfade(fleet: Fleet, figures: Figures) -> None:
    edge = fleet.services["edge-1"]
    with fleet.with_service("synthesis-next", module="tests.support.next_revision") as upgraded:
        async with recorders(edge.ws_url, STREAMS) as listening:
            struck_s = time.monotonic()
            await upgraded.ready()
            await listen_on(5)
            # Compared afterwards: rendering takes seconds, in which the listeners would not read.
            by_the_first = [len(recorder.arrived) for recorder in listening]
            for old in ("synthesis-1", "synthesis-2"):
                fleet.services[old].signal(signal.SIGTERM)
                assert await fleet.services[old].ended() == 0
                await listen_on(3)
            well_s = time.monotonic()
            await listen_on(5)
    figures.more["moved_by_the_first_of_three"] = sum(
        "new" in sides(recorder, count) for recorder, count in zip(listening, by_the_first, strict=True)
    )
    moved = [sides(recorder) for recorder in listening]
    assert moved == [["old", "joint", "new"]] * len(STREAMS), moved
    figures.verdict = verdict = judge(listening, struck_s=struck_s, well_s=well_s, also=transposed)
    figures.more["crossfade_s"] = TICK_S
    assert (verdict.missing, verdict.repeated, verdict.silence_s, verdict.clicks, verdict.wrong) == (0, 0, 0, 0, 0)
