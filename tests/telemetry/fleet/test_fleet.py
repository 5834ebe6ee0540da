import json
from dataclasses import asdict

import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.contract.scrape import ScrapeAnswer
from services.telemetry.alerting.alerts import Alerts
from services.telemetry.fleet.fleet import FORGOTTEN_AFTER_S, MAX_INSTANCES, SILENT_AFTER_S, AnswerResult, Fleet
from services.telemetry.fleet.fleet_history import FleetHistory
from services.telemetry.fleet.instance_history import MAX_SNAPSHOTS
from services.telemetry.scaling.autoscale import autoscale_report

EDGE = b"""\
# TYPE auralis_build_info gauge
auralis_build_info{version="1.2.3",service="edge"} 1
# TYPE memory_usage_mb gauge
memory_usage_mb 87.25
# TYPE auralis_listeners gauge
auralis_listeners 12
# TYPE auralis_streams gauge
auralis_streams 4
# TYPE auralis_render_demand_streams gauge
auralis_render_demand_streams 3
# TYPE auralis_degraded_streams gauge
auralis_degraded_streams 1
# TYPE auralis_tier_listeners gauge
auralis_tier_listeners{tier="normal"} 10
auralis_tier_listeners{tier="stable"} 2
# TYPE auralis_underruns_total counter
auralis_underruns_total 5
# TYPE auralis_loudness_min_dbfs gauge
auralis_loudness_min_dbfs -18.51
# TYPE chunk_delivery_jitter_ms histogram
chunk_delivery_jitter_ms_bucket{le="5.0"} 90
chunk_delivery_jitter_ms_bucket{le="10.0"} 100
chunk_delivery_jitter_ms_bucket{le="+Inf"} 100
chunk_delivery_jitter_ms_sum 300
chunk_delivery_jitter_ms_count 100
"""
SYNTHESIS = b"""\
# TYPE memory_usage_mb gauge
memory_usage_mb 900
# TYPE auralis_render_realtime_factor gauge
auralis_render_realtime_factor 366.24
# TYPE auralis_render_capacity_streams gauge
auralis_render_capacity_streams 366.24
# TYPE auralis_render_mode gauge
auralis_render_mode{mode="compiled"} 1
auralis_render_mode{mode="eager"} 0
# TYPE synthesis_latency_seconds histogram
synthesis_latency_seconds_bucket{le="0.1"} 10
synthesis_latency_seconds_bucket{le="+Inf"} 10
"""


def take(fleet: Fleet, service: str, instance: str, data: bytes = b"x 1\n", *, now_s: float = 100.0) -> AnswerResult:
    return fleet.record(ScrapeAnswer(service, instance, data), asked_s=now_s, now_s=now_s)


def tell_clock(fleet: Fleet, service: str, instance: str, clock_s: float, *, now_s: float = 100.0) -> AnswerResult:
    """Record an answer with a clock in it, at unix second 5,000; telemetry's own where it is right."""
    data = f"# TYPE auralis_clock_seconds gauge\nauralis_clock_seconds {clock_s}\n".encode()
    unix_s = None if service == "telemetry" else 5_000.0
    return fleet.record(ScrapeAnswer(service, instance, data), asked_s=now_s, now_s=now_s, unix_s=unix_s)


def test_a_clock_that_differs_from_the_others_is_named() -> None:
    fleet = Fleet()
    for service, instance, clock_s in (
        ("telemetry", "t1", 5_000.0),
        ("edge", "e1", 4_993.0),
        ("edge", "e2", 4_999.9),
        ("synthesis", "s1", 5_000.1),
        ("synthesis", "s2", 5_120.0),
        ("synthesis", "s3", float("nan")),
    ):
        tell_clock(fleet, service, instance, clock_s)
    earlier = ScrapeAnswer("edge", "of-an-earlier-build", b"x 1\n")
    fleet.record(earlier, asked_s=100.0, now_s=100.0, unix_s=5_000.0)
    report = fleet.report(100.0, generated_at=0.0, bus_connected=True)
    differences = {row.instance: row.clock_difference_s for row in report.instances}
    assert differences == {
        "t1": 0.0,
        "e1": -7.0,
        "e2": -0.1,
        "s1": 0.1,
        "s2": 120.0,
        "s3": None,
        "of-an-earlier-build": None,
    }
    assert fleet.clocks(100.0) == "s2 is 120.0 s ahead of, e1 is 7.0 s behind the median of 5 clocks"


def test_it_may_be_telemetrys_own_clock_that_differs() -> None:
    fleet = Fleet()
    tell_clock(fleet, "telemetry", "t1", 5_000.0)
    for number in range(3):
        tell_clock(fleet, "edge", f"e{number}", 5_009.0)
    assert fleet.clocks(100.0) == "t1 is 9.0 s behind the median of 4 clocks"


def test_an_edge_is_told_in_figures() -> None:
    fleet = Fleet()
    assert take(fleet, "edge", "e1", EDGE) is AnswerResult.ACCEPTED
    (row,) = fleet.report(102.5, generated_at=7.0, bus_connected=True).instances
    assert (row.service, row.instance, row.up, row.silent_s, row.version) == ("edge", "e1", True, 2.5, "1.2.3")
    assert (row.listeners, row.streams, row.demanded_streams, row.degraded_streams) == (12, 4, 3, 1)
    assert row.tiers == {"minimal": 0, "normal": 10, "stable": 2, "defensive": 0}
    assert (row.memory_mb, row.underruns_total, row.loudness_dbfs) == (87.2, 5, -18.5)
    assert row.jitter_p95_ms == pytest.approx(7.5)
    assert row.render_mode is None


def test_a_renderer_is_told_in_figures() -> None:
    fleet = Fleet()
    take(fleet, "synthesis", "s1", SYNTHESIS)
    (row,) = fleet.report(100.0, generated_at=7.0, bus_connected=True).instances
    assert (row.realtime_factor, row.capacity_streams, row.render_mode) == (366.2, 366.2, "compiled")
    assert row.render_p95_ms == pytest.approx(95.0)
    assert row.listeners is None
    assert row.tiers is None


def test_sums_are_over_those_who_are_up() -> None:
    fleet = Fleet()
    take(fleet, "edge", "gone", EDGE, now_s=80.0)
    take(fleet, "edge", "e1", EDGE)
    take(fleet, "edge", "e2", EDGE)
    take(fleet, "synthesis", "s1", SYNTHESIS)
    take(fleet, "telemetry", "t1")
    totals = fleet.report(100.0, generated_at=7.0, bus_connected=True).totals
    assert (totals.instances_up, totals.instances_silent) == (4, 1)
    assert totals.listeners == 24
    # Edges share streams: their demands are not added up.
    assert totals.demanded_streams == 3
    assert totals.capacity_streams == pytest.approx(366.2)
    assert totals.tiers["normal"] == 20
    assert totals.memory_mb == pytest.approx(87.2 * 2 + 900, abs=0.2)


def test_an_instance_is_silent_after_ten_seconds_and_keeps_its_last_figures() -> None:
    fleet = Fleet()
    take(fleet, "edge", "e1", EDGE)
    just_before, just_after = (
        fleet.report(100.0 + SILENT_AFTER_S + delta, generated_at=0.0, bus_connected=True).instances[0]
        for delta in (-0.1, 0.0)
    )
    assert just_before.up
    assert not just_after.up
    assert just_after.listeners == 12
    assert fleet.known(109.9) == {("edge", "e1")}
    assert fleet.known(110.0) == frozenset()
    assert fleet.count(110.0)["edge", "silent"] == 1


def test_a_silent_instance_is_not_in_the_metrics_and_comes_back_when_it_answers() -> None:
    fleet = Fleet()
    take(fleet, "edge", "e1", EDGE)
    take(fleet, "edge", "e2", EDGE, now_s=108.0)
    assert b'instance="e1"' not in fleet.merged(115.0)
    assert b'instance="e2"' in fleet.merged(115.0)
    take(fleet, "edge", "e1", EDGE, now_s=121.0)
    assert b'instance="e1"' in fleet.merged(121.0)


def test_the_metrics_of_the_fleet_are_one_exposition() -> None:
    fleet = Fleet()
    take(fleet, "edge", "e1", EDGE)
    take(fleet, "edge", "e2", EDGE)
    families = {family.name: family for family in text_string_to_metric_families(fleet.merged(100.0).decode())}
    listeners = families["auralis_listeners"].samples
    assert [(each.labels, each.value) for each in listeners] == [
        ({"service": "edge", "instance": "e1"}, 12.0),
        ({"service": "edge", "instance": "e2"}, 12.0),
    ]


def test_after_ten_minutes_of_silence_an_instance_is_forgotten() -> None:
    fleet = Fleet()
    take(fleet, "edge", "e1", EDGE)
    fleet.forget(100.0 + FORGOTTEN_AFTER_S - 0.1)
    assert len(fleet.report(700.0, generated_at=0.0, bus_connected=True).instances) == 1
    fleet.forget(100.0 + FORGOTTEN_AFTER_S)
    assert fleet.report(700.0, generated_at=0.0, bus_connected=True).instances == []
    assert fleet.forgotten == 1


def test_each_instance_answers_a_question_once() -> None:
    fleet = Fleet()
    assert take(fleet, "edge", "e1", b"x 1\n") is AnswerResult.ACCEPTED
    assert fleet.record(ScrapeAnswer("edge", "e1", b"x 2\n"), asked_s=99.0, now_s=100.5) is AnswerResult.REPEATED
    assert b"x{" in fleet.merged(101.0)
    assert b" 1\n" in fleet.merged(101.0)


@pytest.mark.parametrize(
    ("service", "instance", "data"),
    [
        ("bakery", "b1", b"x 1\n"),
        ("edge", 'e"1', b"x 1\n"),
        ("edge", "e" * 101, b"x 1\n"),
        ("edge", "", b"x 1\n"),
        ("edge", "e1", b"not an exposition\n"),
    ],
)
def test_invalid_names_and_expositions_are_ignored(service: str, instance: str, data: bytes) -> None:
    fleet = Fleet()
    assert take(fleet, service, instance, data) is AnswerResult.MALFORMED
    assert fleet.report(100.0, generated_at=0.0, bus_connected=True).instances == []


def test_a_malformed_answer_does_not_count_as_a_sign_of_life() -> None:
    fleet = Fleet()
    take(fleet, "edge", "e1", EDGE)
    take(fleet, "edge", "e1", b"broken\n", now_s=110.0)
    assert not fleet.report(116.0, generated_at=0.0, bus_connected=True).instances[0].up


def test_too_many_instances_are_refused_and_the_known_ones_stay() -> None:
    fleet = Fleet()
    for number in range(MAX_INSTANCES):
        assert take(fleet, "edge", f"e{number}") is AnswerResult.ACCEPTED
    assert take(fleet, "edge", "one-more") is AnswerResult.REFUSED
    assert take(fleet, "edge", "e0", now_s=101.0) is AnswerResult.ACCEPTED


def histogram(counts: tuple[int, int, int]) -> bytes:
    bounds = zip(("5.0", "10.0", "+Inf"), counts, strict=True)
    lines = "".join(f'chunk_delivery_jitter_ms_bucket{{le="{bound}"}} {count}\n' for bound, count in bounds)
    return f"# TYPE chunk_delivery_jitter_ms histogram\n{lines}".encode()


def test_jitter_covers_the_last_minute() -> None:
    fleet = Fleet()
    # Ten minutes of bad jitter, then two good minutes.
    bad = good = 0
    for second in range(0, 720, 5):
        if second < 600:
            bad += 50
        else:
            good += 50
        take(fleet, "edge", "e1", histogram((good, good + bad, good + bad)), now_s=float(second))
        jitter_ms = fleet.report(float(second), generated_at=0.0, bus_connected=True).instances[0].jitter_p95_ms
        if second == 595:
            assert jitter_ms is not None
            assert jitter_ms > 9
    assert jitter_ms is not None
    assert jitter_ms < 5


@pytest.mark.parametrize(("starts", "expected"), [(19, None), (20, True)])
def test_the_time_to_the_first_sound_needs_some_starts(starts: int, expected: bool | None) -> None:  # noqa: FBT001 - a parameter of the test
    bounds = "".join(
        f'auralis_first_audio_seconds_bucket{{le="{bound}"}} {count}\n'
        for bound, count in (("0.5", 0), ("1.0", starts), ("+Inf", starts))
    )
    fleet = Fleet()
    take(fleet, "edge", "e1", f"# TYPE auralis_first_audio_seconds histogram\n{bounds}".encode())
    first_ms = fleet.report(100.0, generated_at=0.0, bus_connected=True).instances[0].first_audio_p99_ms
    assert (first_ms is not None and 500 < first_ms <= 1_000) is bool(expected)


def test_open_files_are_a_share_of_the_limit_and_unknown_without_one() -> None:
    fleet = Fleet()
    take(fleet, "edge", "e1", b"# TYPE process_open_fds gauge\nprocess_open_fds 30\nprocess_max_fds 120\n")
    take(fleet, "edge", "e2", b"process_open_fds 30\nprocess_max_fds 0\n")
    rows = fleet.report(100.0, generated_at=0.0, bus_connected=True).instances
    assert [row.open_files_share for row in rows] == [0.25, None]


NONSENSE = (
    *(
        f"{name} {number}"
        for name in (
            "auralis_listeners", "auralis_render_demand_streams", "auralis_render_capacity_streams",
            "auralis_render_blocks_total", "auralis_underruns_total", "auralis_loudness_min_dbfs", "memory_usage_mb",
            "auralis_overloaded", "auralis_memory_leak", 'auralis_tier_listeners{tier="normal"}', "auralis_build_info",
            'auralis_memory_growth_bytes_per_hour{kind="resident"}', 'websocket_send_errors_total{error_type="x"}',
        )
        for number in ("NaN", "+Inf", "-Inf", "-1", "1e300")
    ),
    *(
        f"# TYPE {name} histogram\n{name}_bucket{sample}"
        for name in ("chunk_delivery_jitter_ms", "synthesis_latency_seconds")
        for sample in (" 1", '{le="x"} 1', '{le="+Inf"} NaN', '{le="+Inf"} +Inf', '{le="50.0"} 7', '{le="+Inf"} -1')
    ),
)  # fmt: skip


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_nonsense_of_one_instance_hides_no_other_instances_figures(nonsense: str) -> None:
    fleet = Fleet()
    alerts, history = Alerts(), FleetHistory()
    for second in (0, 10):
        count = 100 + second
        jitter = histogram((count, count, count)).replace(b'le="10.0"', b'le="50.0"')
        for service in ("edge", "synthesis"):
            well = b"auralis_listeners 12\nauralis_render_capacity_streams 50\n" + jitter
            take(fleet, service, "well", well, now_s=float(second))
            take(fleet, service, "wrong", f"{nonsense}\n".encode(), now_s=float(second))
        report = fleet.report(float(second), generated_at=float(second), bus_connected=True)
        alerts.judge(report, fleet.jitter(float(second), 60.0))
        history.add(report)
        demand = autoscale_report(report)
    assert report.totals.listeners == demand.edge.listeners == 12
    assert demand.synthesis.capacity_streams_per_worker == 50
    assert report.totals.late_ratio == 0
    assert alerts.budget.ratio(10.0, 3600.0) == 0
    text = json.dumps([asdict(report), asdict(history.report())])
    assert "NaN" not in text
    assert "Infinity" not in text


def test_different_bounds_of_two_versions_make_no_chunk_late() -> None:
    fleet = Fleet()
    older, newer = ("5.0", "50.0", "+Inf"), ("40.0", "60.0", "+Inf")
    for second in (0.0, 10.0):
        for name, bounds in (("old", older), ("new", newer)):
            # All chunks within 5 and 40 ms.
            lines = "".join(f'chunk_delivery_jitter_ms_bucket{{le="{bound}"}} {100 + second}\n' for bound in bounds)
            take(fleet, "edge", name, f"# TYPE chunk_delivery_jitter_ms histogram\n{lines}".encode(), now_s=second)
    assert fleet.report(10.0, generated_at=0.0, bus_connected=True).totals.late_ratio == 0


def test_the_history_of_an_instance_is_bounded() -> None:
    fleet = Fleet()
    for tenth in range(9000):
        take(fleet, "edge", "e1", histogram((tenth, tenth, tenth)), now_s=tenth / 10)
    assert len(fleet._instances["edge", "e1"].history.snapshots) <= MAX_SNAPSHOTS
