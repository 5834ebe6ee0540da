from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.telemetry.alerting.alerts import RESOLVED_KEPT_S, Alerts
from services.telemetry.alerting.late_budget import LateBudget
from services.telemetry.alerting.rules import RULES
from services.telemetry.fleet.report import FleetReport, InstanceReport
from tests.telemetry.rows import GOOD_JITTER, edge, fleet, memory, renderer

REPO = Path(__file__).parents[3]
FILE = REPO / "charts/auralis/files/alerts.yaml"
IN_CHART = {
    rule["alert"]: rule
    for group in yaml.safe_load(FILE.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
}
GOOD = (edge(), renderer())
BAD: dict[str, tuple[InstanceReport, ...]] = {
    "ChunkJitterHigh": (edge(jitter_p99_ms=80.0), renderer()),
    "BufferUnderrunsHigh": (edge(underruns_5m=6), renderer()),
    "WebSocketErrorsHigh": (edge(send_errors_5m=8), renderer()),
    "ConnectionsNearLimit": (edge(listeners=4600, underruns_5m=0), renderer()),
    "EdgeSilent": (edge(loudness_dbfs=-90.0), renderer()),
    "StreamsDegraded": (edge(degraded_streams=2), renderer()),
    "ListenersRefused": (edge(refusals_5m=6), renderer()),
    "FirstAudioSlow": (edge(first_audio_p99_ms=800.0), renderer()),
    "NoEdges": (renderer(),),
    "NoSynthesisWorkers": (edge(ready_renderers=0), renderer()),
    "RenderHeadroomLow": (edge(demanded_streams=45), renderer()),
    "OpenFilesNearLimit": (edge(open_files_share=0.9), renderer()),
    "SynthesisLatencyHigh": (edge(), renderer(render_p99_ms=180.0)),
    "RenderBacklog": (edge(blocks_missing_2m=30), renderer()),
    "GPUMemoryHigh": (edge(), renderer(memory=memory(gpu_mb=7000.0))),
    "MemoryLeakDetected": (edge(), renderer(memory=memory(leak=True))),
    "InstanceSilent": (edge(), renderer(), edge("e2", up=False, silent_s=20.0)),
    "NatsReconnecting": (edge(bus_reconnects_10m=5), renderer()),
    "BusStreamsChanged": (edge(streams_differing=1), renderer()),
    "ClockOffsetHigh": (edge(), renderer(clock_offset_s=-2.0)),
    "ClocksApart": (edge(clock_difference_s=0.1), renderer(clock_difference_s=-0.6)),
}


def run(alerts: Alerts, rows: tuple[InstanceReport, ...], start_s: float, seconds: int, *, bus: bool = True) -> float:
    """Judge every 5 s; returns the end."""
    for second in range(0, seconds + 1, 5):
        alerts.judge(fleet(*rows, at=start_s + second, bus=bus), GOOD_JITTER)
    return start_s + seconds


def names(alerts: Alerts, state: str) -> set[str]:
    return {each.name for each in alerts.report().alerts if each.state == state}


def test_names_severities_and_summaries_are_those_of_the_chart() -> None:
    # Outside Kubernetes there is no autoscaler, no pod and no certificate of the cluster's.
    kubernetes = {"AutoscalerAtMaximum", "AutoscalerBlind", "PodNotStarting", "CertificateExpiring"}
    assert {rule.name for rule in RULES} == set(IN_CHART) - kubernetes
    for rule in RULES:
        in_chart = IN_CHART[rule.name]
        assert rule.severity == in_chart["labels"]["severity"], rule.name
        assert rule.summary == in_chart["annotations"]["summary"], rule.name
        times = re.fullmatch(r"(\d+)(s|m)?", str(in_chart.get("for", "0")))
        assert times, rule.name
        assert rule.for_s == int(times[1]) * (60 if times[2] == "m" else 1), rule.name


def test_a_backlog_says_which_of_its_two_reasons_applies() -> None:
    for row, reason in (
        (edge(overloaded=True), "new streams are refused, because blocks are late"),
        (edge(blocks_missing_2m=30), "30 blocks were missing when due, in two minutes"),
    ):
        alerts = Alerts()
        run(alerts, (row, renderer()), 0, 0)
        assert [each.description for each in alerts.report().alerts] == [reason]


def test_a_healthy_fleet_has_no_alert() -> None:
    alerts = Alerts()
    run(alerts, GOOD, 0, 600)
    assert alerts.report().alerts == []


@pytest.mark.parametrize("name", BAD)
def test_each_alert_is_pending_fires_and_is_resolved(name: str) -> None:
    alerts = Alerts()
    now_s = run(alerts, GOOD, 0, 60)
    alerts.judge(fleet(*BAD[name], at=now_s + 5), GOOD_JITTER)
    assert names(alerts, "pending") == {name}
    now_s = run(alerts, BAD[name], now_s + 10, 310)
    assert names(alerts, "firing") == {name}
    (alert,) = alerts.report().alerts
    assert alert.since == 65
    assert alert.description
    assert (REPO / alert.runbook).is_file()
    now_s = run(alerts, GOOD, now_s + 5, 5)
    assert names(alerts, "resolved") == {name}
    run(alerts, GOOD, now_s + RESOLVED_KEPT_S, 10)
    assert alerts.report().alerts == []


def test_a_short_problem_never_fires() -> None:
    alerts = Alerts()
    now_s = run(alerts, BAD["SynthesisLatencyHigh"], 0, 50)
    run(alerts, GOOD, now_s, 5)
    assert alerts.report().alerts == []


def test_a_lost_bus_is_one_alert_and_not_a_silent_instance_each() -> None:
    alerts = Alerts()
    run(alerts, (edge(up=False, silent_s=60.0), renderer(up=False, silent_s=60.0)), 0, 60, bus=False)
    assert names(alerts, "firing") == {"NatsReconnecting"}


def test_critical_alerts_come_first() -> None:
    alerts = Alerts()
    run(alerts, (edge(degraded_streams=1, loudness_dbfs=-99.0), renderer()), 0, 60)
    assert [each.name for each in alerts.report().alerts] == ["EdgeSilent", "StreamsDegraded"]


def budget_after(minutes: int, share: float, chunks: int = 6_000) -> tuple[LateBudget, float]:
    budget = LateBudget()
    for minute in range(minutes):
        budget.add(minute * 60.0, chunks * share, chunks)
    return budget, minutes * 60.0


@pytest.mark.parametrize(
    ("minutes", "share", "burning"),
    [(60, 0.005, False), (60, 0.1, True), (60, 0.2, True), (360, 0.05, False), (360, 0.08, True)],
)
def test_the_budget_burns_when_a_short_and_a_long_window_agree(minutes: int, share: float, burning: bool) -> None:  # noqa: FBT001 - a parameter of the test
    budget, now_s = budget_after(minutes, share)
    assert (budget.burning(now_s) is not None) is burning


def test_five_bad_minutes_after_five_good_hours_do_not_burn_the_budget_yet() -> None:
    budget, now_s = budget_after(300, 0.0)
    for minute in range(5):
        budget.add(now_s + minute * 60.0, 3_000, 6_000)
    assert budget.burning(now_s + 300) is None


def test_the_budget_of_a_few_listeners_does_not_burn() -> None:
    for chunks, burning in ((2_900, False), (3_100, True)):
        budget, now_s = budget_after(60, 0.5, chunks)
        assert (budget.burning(now_s) is not None) is burning


@pytest.mark.parametrize(
    "rows",
    [
        (edge(ready_renderers=0, demanded_streams=0), renderer()),
        (edge(listeners=3, underruns_5m=5), renderer()),
        (edge(refusals_5m=5), renderer()),
        (edge(demanded_streams=40), renderer()),
        (edge(first_audio_p99_ms=None), renderer()),
        (edge(), renderer(memory=memory(gpu_mb=6_700.0))),
        (edge(), renderer(capacity_streams=0.0)),
    ],
    ids=["no demand", "few underruns", "few refusals", "headroom", "few starts", "gpu", "no capacity known"],
)
def test_just_below_a_limit_nothing_fires(rows: tuple[InstanceReport, ...]) -> None:
    alerts = Alerts()
    run(alerts, rows, 0, 400)
    assert names(alerts, "firing") == set()


def test_refused_listeners_without_a_worker_are_demand() -> None:
    alerts = Alerts()
    run(alerts, (edge(ready_renderers=0, demanded_streams=0, refusals_5m=1), renderer()), 0, 70)
    assert names(alerts, "firing") == {"NoSynthesisWorkers"}


def test_late_chunks_count_against_the_budget() -> None:
    alerts = Alerts()
    late = {50.0: 4_200.0, 100.0: 6_000.0, float("inf"): 6_000.0}
    report: FleetReport | None = None
    for minute in range(61):
        report = fleet(*GOOD, at=minute * 60.0)
        alerts.judge(report, late)
    found: Any = [each for each in alerts.report().alerts if each.name == "DeliveryBudgetBurning"]
    assert found[0].state == "firing"
    assert "30.0%" in found[0].description
