from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from services.loadtest.command import show
from services.loadtest.plot import draw
from services.loadtest.report import HEADINGS, Limits, PodOutput, Report, read_output, timeline
from services.loadtest.tally import Position, Tally


def tally(listeners: int, *, chunks: int = 100, missing: int = 0, late_s: float = 0.002) -> Tally:
    """Listeners whose buffers fill to half a second; every tenth chunk is late."""
    made = Tally(listeners=listeners)
    for _ in range(listeners):
        position = Position(began_s=99.9)
        for number in range(chunks):
            due_s = 100 + number / 10 - min(number, 10) * 0.05
            chunk_id = number if number < chunks // 2 else number + missing
            made.chunk(position, chunk_id, 1, due_s + (late_s if number % 10 == 5 else 0.0))
    return made


def lines(index: int, made: Tally | None, *, seconds: int = 10, early: bool = False) -> list[str]:
    found = [
        json.dumps({
            "kind": "progress", "index": index, "unix_s": 1000.0 + index / 10 + second, "share": second / seconds,
            "listening": 5, "heard": 5, "chunks": 50 * second, "missing": 0, "underruns": 0, "reconnects": 0,
            "refused": 0, "bytes": 880_000 * second,
        })
        for second in range(1, seconds + 1)
    ]  # fmt: skip
    if made is not None:
        own = {"seconds": float(seconds), "cpu_s": 1.5, "late_ms": 3}
        found.append(
            json.dumps({"kind": "result", "index": index, "early": early, "own": own, "tally": made.to_json()})
        )
    return found


def report(*pods: PodOutput, wanted: int = 10, expected_pods: int = 2, **more: Any) -> Report:
    return Report(wanted, pods, expected_pods, {"namespace": "music"}, **more)


def kept(found: Report) -> dict[str, bool]:
    return {check.name: check.kept for check in found.checks}


def test_a_log_is_read_and_lines_of_others_are_skipped() -> None:
    noise = ["Traceback (most recent call last):", "", "3", '{"level": "info"}']
    pod = read_output([*noise, *lines(3, tally(5))], 3)
    assert pod.tally is not None
    assert (pod.tally.heard, len(pod.progress), pod.share) == (5, 10, 1.0)
    assert read_output(lines(3, None), 3).share == 1.0
    assert read_output(lines(3, None)[:4], 3).share == pytest.approx(0.4)


def test_a_result_of_another_version_is_an_error_with_a_sentence() -> None:
    text = lines(3, tally(1))[-1]
    value = json.loads(text)
    value["tally"].pop("listeners")
    with pytest.raises(ValueError, match=r"Pod 3: got a result without 'listeners'; .* of another version"):
        read_output([json.dumps(value)], 3)


def test_a_good_run_keeps_every_limit() -> None:
    found = report(read_output(lines(0, tally(5)), 0), read_output(lines(1, tally(5)), 1))
    assert found.kept, kept(found)
    assert found.to_json()["total"]["heard"] == 10


@pytest.mark.parametrize(
    ("pod", "broken"),
    [
        (PodOutput(1), {"pods with a result", "listeners with sound"}),
        (PodOutput(1, tally(4)), {"listeners with sound"}),
        (PodOutput(1, tally(5, missing=3)), {"gap rate"}),
        (PodOutput(1, tally(5, late_s=0.2)), {"jitter p99"}),
        (PodOutput(1, tally(5, late_s=0.7)), {"jitter p99", "underrun rate"}),
    ],
)
def test_each_fault_exceeds_its_own_limit(pod: PodOutput, broken: set[str]) -> None:
    found = report(read_output(lines(0, tally(5)), 0), pod)
    assert not found.kept
    assert {name for name, good in kept(found).items() if not good} == broken


def test_a_run_without_any_audio_keeps_no_limit() -> None:
    found = report(PodOutput(0, Tally(listeners=5)), PodOutput(1, Tally(listeners=5)))
    assert {name for name, good in kept(found).items() if good} == {"pods with a result"}


def test_an_interrupted_run_keeps_no_verdict() -> None:
    good = [read_output(lines(index, tally(5)), index) for index in range(2)]
    assert not report(*good, interrupted=True).kept


def test_limits_can_be_changed() -> None:
    found = report(PodOutput(0, tally(10, missing=3)), expected_pods=1, limits=Limits(gap_rate=0.1))
    assert found.kept, kept(found)


def test_pods_with_different_clocks_add_up_second_by_second() -> None:
    pods = [read_output(lines(index, None), index).progress for index in range(2)]
    rows = timeline(pods)
    assert len(rows) == 10
    assert [row["listening"] for row in rows[1:9]] == [10] * 8
    assert {row["chunks_per_s"] for row in rows[2:9]} == {100}
    assert {row["megabytes_per_s"] for row in rows[2:9]} == {1.8}
    assert timeline([[], []]) == []


def test_a_pod_that_has_ended_does_not_listen_but_its_chunks_count() -> None:
    short, long = (
        read_output(lines(0, None, seconds=3), 0).progress,
        read_output(lines(1, None, seconds=12), 1).progress,
    )
    rows = timeline([short, long])
    assert rows[-1]["listening"] == 5
    assert all(row["chunks_per_s"] >= 0 for row in rows)


def test_the_tables_have_a_row_for_each_pod_and_the_verdict() -> None:
    text = io.StringIO()
    found = report(read_output(lines(0, tally(5, missing=2)), 0), PodOutput(1))
    show(found, Console(file=text, width=200))
    output = text.getvalue()
    assert all(len(row) == len(HEADINGS) for row in found.rows())
    assert "5/5" in output
    assert "no result" in output
    assert "NOT kept" in output


def test_a_pod_that_was_stopped_early_shows_its_last_counts() -> None:
    found = report(read_output(lines(0, None), 0), PodOutput(1), interrupted=True)
    rows = found.rows()
    assert rows[0][:5] == ("0", "5 so far", "500", "0", "0")
    assert rows[1][1] == "no result"
    assert {len(row) for row in rows} == {len(HEADINGS)}


def test_a_picture_is_drawn_even_without_figures(tmp_path: Path) -> None:
    for number, pods in enumerate(([read_output(lines(0, tally(5)), 0)], [PodOutput(0)])):
        path = tmp_path / f"{number}.png"
        draw(report(*pods), path)
        assert path.read_bytes().startswith(b"\x89PNG")
