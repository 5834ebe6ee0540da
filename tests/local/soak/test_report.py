import json
from itertools import count

from services.local.soak.report import ListenerCounts, Sample, SoakReport, lines, soak_report

BEFORE = {20.0: 100.0, 50.0: 100.0, 100.0: 100.0, float("inf"): 100.0}
AFTER = {20.0: 1000.0, 50.0: 1080.0, 100.0: 1100.0, float("inf"): 1100.0}


def curve(minutes: float, mb_per_hour: float, *, files: int = 20) -> list[Sample]:
    return [
        Sample(
            time_s=10.0 * n,
            rss_mb=100 + mb_per_hour * n / 360,
            uss_mb=90 + mb_per_hour * n / 360,
            open_files=files + n // 10,
            threads=5,
            tasks=7,
        )
        for n in range(round(minutes * 6))
    ]


def report(minutes: float = 60) -> SoakReport:
    counts = ListenerCounts(chunks=36_000, gaps=1, steered=3, underruns=2)
    for _, format_ in zip(count(), ("pcm", "pcm", "stream.mp3"), strict=False):
        counts.began(format_)
    counts.failed("pcm: refused")
    samples = {"edge": curve(minutes, 50), "synthesis": curve(minutes, 0.5), "nats": []}
    return soak_report(samples, counts, minutes=minutes, listeners=9, jitter_before=BEFORE, jitter_after=AFTER)


def test_each_process_is_judged_by_its_slope() -> None:
    found = report()
    assert found.leaks == ["edge"]
    edge, synthesis = found.processes
    assert round(edge.rss.slope_mb_per_hour) == 50
    assert not synthesis.rss.leak
    assert edge.open_files == (20, 55)
    assert edge.tasks == (7, 7)


def test_jitter_is_counted_from_the_beginning_of_the_soak() -> None:
    found = report()
    assert found.late_ratio is not None
    assert round(found.late_ratio, 3) == 0.02
    assert found.jitter_ms["p50"] is not None
    assert found.jitter_ms["p50"] < 20


def test_the_report_is_text_and_json() -> None:
    text = "\n".join(lines(report()))
    assert "sessions          3 (pcm 2, stream.mp3 1)" in text
    assert "heard             1.00 hours" in text
    assert "error             1 x pcm: refused" in text
    assert "LEAK" in text
    assert "98.00 % within 50 ms" in text
    assert json.loads(json.dumps(report().to_json()))["leaks"] == ["edge"]


def test_a_soak_of_minutes_is_too_short_for_a_verdict() -> None:
    assert "too short to tell" in "\n".join(lines(report(minutes=3)))


def test_the_number_of_different_errors_is_bounded() -> None:
    counts = ListenerCounts()
    for number in range(1000):
        counts.failed(f"error {number}" * 100)
    assert len(counts.errors) <= 51
    assert sum(counts.errors.values()) == 1000
