"""Every alert fires when it should, stays silent when it should, and recovers."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.edge.metrics import EdgeMetrics
from services.runtime.metrics import BusMetrics, MemoryMetrics, PrometheusMetrics
from services.synthesis.metrics import SynthesisMetrics
from services.telemetry.metrics import TelemetryMetrics
from tests.charts.support import CHART, merge, render, run, tool, tree

FILE = CHART / "files" / "alerts.yaml"
RULES = [rule for group in yaml.safe_load(FILE.read_text())["groups"] for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}


@dataclass(frozen=True)
class Case:
    """An alert's life: series by the minute; `values` as promtool writes them ("0+60x10 600x5").

    Attributes:
        bad: series that fire it.
        well: similar series that must not fire it.
        not_yet_at: minutes; it must not fire yet.
        fires_at: minutes; it must fire.
        well_at: minutes; it must have recovered.
        labels: of the alert, without its severity.
        description: the expected annotation.
    """

    bad: dict[str, str]
    well: dict[str, str]
    fires_at: int
    well_at: int
    description: str
    labels: dict[str, str] = field(default_factory=lambda: {"namespace": "music", "instance": "edge-1"})
    not_yet_at: int = 1


def of(name: str, more: str = "", *, instance: str = "edge-1") -> str:
    """A series of an instance, with `more` labels."""
    return f'{name}{{{more}{"," if more else ""}namespace="music",instance="{instance}"}}'


def apart(name: str) -> str:
    """The difference of an instance's clock, as telemetry sees it."""
    more = f'fleet_service="{name.partition("-")[0]}",fleet_instance="{name}"'
    return of("auralis_fleet_clock_difference_seconds", more, instance="telemetry-1")


def histogram(name: str, below: str, above: str, *, slow: Sequence[int], fast: Sequence[int]) -> dict[str, str]:
    """A histogram of two buckets: `fast` (a minute, minutes) below the limit, then `slow` above it, then fast again."""
    rate, minutes = fast
    bad_rate, bad_minutes = slow
    quick = f"0+{rate}x{minutes} {rate * minutes}x{bad_minutes} {rate * minutes}+{rate}x120"
    total = rate * minutes + bad_rate * bad_minutes
    every = f"0+{rate}x{minutes} {rate * minutes}+{bad_rate}x{bad_minutes} {total}+{rate}x120"
    bucket = f"{name}_bucket"
    return {
        of(bucket, f'le="{below}"'): quick,
        of(bucket, f'le="{above}"'): every,
        of(bucket, 'le="+Inf"'): every,
        of(f"{name}_count"): every,
    }


def steady(name: str, below: str, above: str) -> dict[str, str]:
    return histogram(name, below, above, slow=(0, 0), fast=(600, 5))


def hpa(name: str, *labels: str) -> str:
    """A series of kube-state-metrics about the edge's autoscaler; `labels`: condition and status."""
    more = f'{labels[0]},status="{labels[1]}",' if labels else ""
    place = 'namespace="music",horizontalpodautoscaler="radio-edge"'
    return f"kube_horizontalpodautoscaler_{name}{{{more}{place}}}"


def pod(name: str, label: str) -> str:
    """A series of kube-state-metrics about a pod of the edge."""
    return f'kube_pod_{name}{{namespace="music",pod="radio-edge-7d",{label}}}'


NO_PLACE = {"namespace": "music"}
UP_EDGES = of("auralis_fleet_instances", 'fleet_service="edge",state="up"', instance="telemetry-1")
HPA_LIMITS = {hpa("spec_max_replicas"): "10x60", hpa("spec_min_replicas"): "2x60"}
HPA_LABELS = {"namespace": "music", "horizontalpodautoscaler": "radio-edge"}
SCALING, ABLE = 'condition="ScalingActive"', 'condition="AbleToScale"'
DAY_S = 86_400
CERTIFICATE = 'certmanager_certificate_expiration_timestamp_seconds{namespace="music",name="auralis-tls"}'
CASES = {
    "DeliveryBudgetBurning": Case(
        bad=histogram("chunk_delivery_jitter_ms", "50.0", "100.0", slow=(6_000, 15), fast=(6_000, 50)),
        well=steady("chunk_delivery_jitter_ms", "50.0", "100.0"),
        not_yet_at=50,
        fires_at=64,
        well_at=100,
        labels=NO_PLACE,
        description="100% of the chunks are written more than 50 ms late; the objective is at most 1 %.",
    ),
    "ChunkJitterHigh": Case(
        bad=histogram("chunk_delivery_jitter_ms", "50.0", "100.0", slow=(600, 10), fast=(600, 10)),
        well=steady("chunk_delivery_jitter_ms", "50.0", "100.0"),
        not_yet_at=11,
        fires_at=18,
        well_at=40,
        description="edge-1: p99 chunk lateness 100 ms; the target is 50 ms. "
        "The edge lacks CPU time or has too many listeners.",
    ),
    "BufferUnderrunsHigh": Case(
        bad={of("auralis_underruns_total"): "0x5 0+20x10 200x60", of("auralis_listeners"): "100x80"},
        well={of("auralis_underruns_total"): "0x5 0+1x60", of("auralis_listeners"): "1000x80"},
        not_yet_at=5,
        fires_at=12,
        well_at=30,
        description="edge-1: 1.00 underruns per listener in five minutes. Check ChunkJitterHigh and "
        "StreamsDegraded first; if neither fires, the cause is the network between the edge and its listeners.",
    ),
    "WebSocketErrorsHigh": Case(
        bad={
            of("websocket_send_errors_total", 'error_type="stalled"'): "0x5 0+20x10 200x60",
            of("auralis_listeners"): "100x80",
        },
        well={
            of("websocket_send_errors_total", 'error_type="closed"'): "0+500x80",
            of("websocket_send_errors_total", 'error_type="stalled"'): "0+1x80",
            of("auralis_listeners"): "100x80",
        },
        not_yet_at=5,
        fires_at=12,
        well_at=30,
        description="edge-1: 100 failed sends in five minutes.",
    ),
    "ConnectionsNearLimit": Case(
        bad={of("auralis_listeners"): "4000x5 4750x10 3000x30", of("auralis_listeners_limit"): "5000x60"},
        well={of("auralis_listeners"): "4500x60", of("auralis_listeners_limit"): "5000x60"},
        not_yet_at=7,
        fires_at=10,
        well_at=20,
        description="edge-1: 95% of its maximum number of listeners (WS_MAX_CONNECTIONS). A full edge "
        "answers 503. Start more edges.",
    ),
    "EdgeSilent": Case(
        bad={of("auralis_loudness_min_dbfs"): "-20x5 -120x5 -20x30", of("auralis_render_demand_streams"): "3x60"},
        # Without listeners no stream is silent.
        well={of("auralis_loudness_min_dbfs"): "-120x60", of("auralis_render_demand_streams"): "0x60"},
        not_yet_at=5,
        fires_at=8,
        well_at=15,
        description="edge-1: the quietest stream with listeners is at -120 dBFS.",
    ),
    "StreamsDegraded": Case(
        bad={of("auralis_degraded_streams"): "0x5 2x5 0x30"},
        well={of("auralis_degraded_streams"): "0x60"},
        not_yet_at=5,
        fires_at=8,
        well_at=15,
        description="edge-1: 2 streams loop their last seconds, because no blocks arrive.",
    ),
    "NoSynthesisWorkers": Case(
        bad={
            of("auralis_ready_renderers"): "2x5 0x5 2x30",
            of("auralis_ready_renderers", instance="edge-2"): "2x5 0x5 1x30",
            of("auralis_render_demand_streams"): "0x60",
            of("auralis_render_demand_streams", instance="edge-2"): "3x60",
        },
        # Nothing is demanded: workers may have been scaled down to none.
        well={
            of("auralis_ready_renderers"): "0x60",
            of("auralis_render_demand_streams"): "0x60",
            of("auralis_refusals_total", 'reason="token"'): "0+60x60",
        },
        not_yet_at=6,
        fires_at=8,
        well_at=15,
        labels=NO_PLACE,
        description="Edges have seen 0 ready workers for a minute. Playing streams continue as loops; "
        "new streams do not start.",
    ),
    "SynthesisLatencyHigh": Case(
        bad=histogram("synthesis_latency_seconds", "0.1", "0.2", slow=(60, 5), fast=(60, 5)),
        well=steady("synthesis_latency_seconds", "0.1", "0.2"),
        not_yet_at=6,
        fires_at=8,
        well_at=20,
        description="edge-1: p99 render latency 199ms; the target is 100 ms. "
        "Edges ask for blocks seconds ahead, so listeners notice nothing until RenderBacklog fires.",
    ),
    "RenderBacklog": Case(
        bad={of("auralis_blocks_missing_total"): "0x5 0+60x5 300x60", of("auralis_render_demand_streams"): "10x60"},
        well={
            of("auralis_blocks_missing_total"): "0 1x60",
            of("auralis_render_demand_streams"): "10x60",
            of("auralis_overloaded"): "0x60",
        },
        not_yet_at=5,
        fires_at=9,
        well_at=15,
        description="edge-1: 1.00 blocks per second are missing when due, or new streams are refused because "
        "blocks are late. Start more workers.",
    ),
    "GPUMemoryHigh": Case(
        bad={of("gpu_memory_allocated_mb"): "900x5 7000x5 900x30", of("auralis_gpu_memory_bytes"): "8388608000x60"},
        well={
            of("gpu_memory_allocated_mb"): "60000x60",
            of("auralis_gpu_memory_bytes"): "83886080000x60",
            of("auralis_render_out_of_memory_total"): "0x60",
        },
        not_yet_at=5,
        fires_at=8,
        well_at=15,
        description="edge-1: more than 85 % of the GPU's memory are allocated, or batches were halved because "
        "memory ran out (0.88). "
        "Lower GPU_BATCH_SIZE, or keep other processes off the GPU.",
    ),
    "MemoryLeakDetected": Case(
        bad={
            of("auralis_memory_growth_bytes_per_hour", 'kind="resident"'): f"0x30 {30 * 2**20}x60 0x60",
            of("auralis_memory_growth_bytes_per_hour", 'kind="unique"'): f"0x30 {50 * 2**20}x60 0x60",
            of("auralis_memory_growth_bytes_per_hour", 'kind="gpu"'): "0x150",
            of("auralis_memory_leak"): "0x30 1x60 0x60",
        },
        # Memory grows, but the process sees a sawtooth of the garbage collector and no leak.
        well={
            of("auralis_memory_growth_bytes_per_hour", 'kind="resident"'): f"{60 * 2**20}x200",
            of("auralis_memory_leak"): "0x200",
        },
        not_yet_at=33,
        fires_at=38,
        well_at=110,
        description="edge-1: memory grows by 30 MiB per hour; the limit is 20.",
    ),
    "InstanceSilent": Case(
        bad={of("up", 'job="auralis"'): "1x5 0x5 1x30"},
        # A removed pod is no target any more; telemetry still remembers it, which is no alert in Kubernetes.
        well={
            'up{job="other",namespace="music",instance="edge-1"}': "0x60",
            'auralis_fleet_instances{fleet_service="edge",state="silent",namespace="music"}': "3x60",
        },
        not_yet_at=5,
        fires_at=8,
        well_at=15,
        labels={"namespace": "music", "instance": "edge-1", "job": "auralis"},
        description="edge-1 stopped answering.",
    ),
    "NatsReconnecting": Case(
        bad={of("auralis_bus_connected"): "1x5 0x5 1x30", of("auralis_bus_reconnects_total"): "0x60"},
        well={of("auralis_bus_connected"): "1x60", of("auralis_bus_reconnects_total"): "0x5 1x60"},
        not_yet_at=5,
        fires_at=8,
        well_at=15,
        description="edge-1 is disconnected from NATS, or reconnects often: 0 reconnects in ten minutes.",
    ),
    "ListenersRefused": Case(
        bad={of("auralis_refusals_total", 'reason="connections"'): "0x5 0+10x5 50x30"},
        well={
            of("auralis_refusals_total", 'reason="connections"'): "0x5 0+1x5 5x30",
            of("auralis_refusals_total", 'reason="token"'): "0+100x60",
        },
        not_yet_at=5,
        fires_at=10,
        well_at=25,
        description="edge-1: 40 listeners or streams were refused in five minutes, for want of room or workers.",
    ),
    "FirstAudioSlow": Case(
        bad=histogram("auralis_first_audio_seconds", "0.5", "1.0", slow=(60, 5), fast=(60, 5)),
        # Two starts in five minutes give no percentile.
        well=histogram("auralis_first_audio_seconds", "0.5", "1.0", slow=(1, 2), fast=(0, 5)),
        not_yet_at=6,
        fires_at=9,
        well_at=20,
        description="edge-1: p99 time from a start message to the first chunk 995ms; the limit is 500 ms.",
    ),
    "NoEdges": Case(
        bad={UP_EDGES: "2x5 0x5 1x30"},
        well={UP_EDGES: "1x60", UP_EDGES.replace("up", "silent"): "0x60"},
        not_yet_at=5,
        fires_at=8,
        well_at=15,
        labels=NO_PLACE,
        description="Telemetry has heard of 0 edges for a minute. No listener can connect.",
    ),
    "RenderHeadroomLow": Case(
        bad={
            of("auralis_render_demand_streams"): "10x5 90x10 10x30",
            of("auralis_render_demand_streams", instance="edge-2"): "10x60",
            of("auralis_render_capacity_streams", instance="s1"): "50x60",
            of("auralis_render_capacity_streams", instance="s2"): "50x60",
        },
        # Two edges share their streams.
        well={
            of("auralis_render_demand_streams"): "70x60",
            of("auralis_render_demand_streams", instance="edge-2"): "70x60",
            of("auralis_render_capacity_streams", instance="s1"): "100x60",
        },
        not_yet_at=9,
        fires_at=13,
        well_at=20,
        labels=NO_PLACE,
        description="90% of the streams that all workers can render in real time are demanded. "
        "Start more workers before blocks come late.",
    ),
    "OpenFilesNearLimit": Case(
        bad={
            of("process_open_fds"): "100x5 900x5 100x30",
            of("process_max_fds"): "1000x60",
            of("auralis_build_info"): "1x60",
        },
        # Another program's.
        well={of("process_open_fds"): "900x60", of("process_max_fds"): "1000x60"},
        not_yet_at=6,
        fires_at=9,
        well_at=15,
        description="edge-1: 90% of its file descriptors are open. An edge that has none left refuses listeners.",
    ),
    "AutoscalerAtMaximum": Case(
        bad={hpa("status_desired_replicas"): "4x5 10x20 4x40", **HPA_LIMITS},
        # At its only size.
        well={hpa("status_desired_replicas"): "2x60", **dict.fromkeys(HPA_LIMITS, "2x60")},
        not_yet_at=19,
        fires_at=22,
        well_at=40,
        labels=HPA_LABELS,
        description="radio-edge has wanted 10 replicas for 15 minutes, which is its maximum: "
        "more load is refused or late.",
    ),
    "AutoscalerBlind": Case(
        bad={hpa("status_condition", SCALING, "false"): "0x5 1x10 0x30"},
        well={hpa("status_condition", SCALING, "true"): "1x60", hpa("status_condition", ABLE, "false"): "1x60"},
        not_yet_at=9,
        fires_at=12,
        well_at=20,
        labels={**HPA_LABELS, "condition": "ScalingActive", "status": "false"},
        description="radio-edge cannot read its metric (ScalingActive is false: 1) and holds the number of pods.",
    ),
    "PodNotStarting": Case(
        bad={pod("status_phase", 'phase="Pending"'): "0x5 1x10 0x30"},
        well={
            pod("status_phase", 'phase="Running"'): "1x60",
            pod("status_phase", 'phase="Pending"').replace("radio-edge-7d", "database-0"): "1x60",
            pod("container_status_waiting_reason", 'reason="ContainerCreating"'): "1x60",
        },
        not_yet_at=9,
        fires_at=12,
        well_at=20,
        labels={"namespace": "music", "pod": "radio-edge-7d"},
        description="radio-edge-7d has been pending, or has waited for its image or its configuration, "
        "for five minutes (1).",
    ),
    "CertificateExpiring": Case(
        # It crosses the limit after an hour, and is renewed after five.
        bad={CERTIFICATE: f"{14 * DAY_S + 3_600}x300 {60 * DAY_S}x100"},
        well={CERTIFICATE: f"{60 * DAY_S}x400"},
        not_yet_at=70,
        fires_at=80,
        well_at=320,
        labels={"namespace": "music", "name": "auralis-tls"},
        description="auralis-tls: the certificate expires in 13d 23h 40m 0s.",
    ),
    "BusStreamsChanged": Case(
        bad={of("auralis_bus_stream_differs", 'stream="AUDIO"'): "0x5 1x5 0x30"},
        well={
            of("auralis_bus_stream_differs", 'stream="AUDIO"'): "0x60",
            of("auralis_bus_streams_mended_total"): "1x60",
        },
        not_yet_at=5,
        fires_at=7,
        well_at=15,
        labels={"namespace": "music"},
        description=(
            "1 of the bus's streams has, or had until a worker mended it, another configuration than the one that "
            "workers make; /readyz of any process names the fields."
        ),
    ),
    "ClockOffsetHigh": Case(
        bad={of("auralis_clock_offset_seconds"): "0x5 -0.9x5 0x30"},
        well={of("auralis_clock_offset_seconds"): "0.4x60"},
        not_yet_at=6,
        fires_at=8,
        well_at=15,
        description="edge-1: 0.9 s from the machine's clock; the process corrects one second in 17 minutes.",
    ),
    "ClocksApart": Case(
        bad={apart("synthesis-1"): "0x5 -7x5 0x30", apart("edge-1"): "0.1x60"},
        well={apart("synthesis-1"): "0.4x60", apart("edge-1"): "-0.4x60"},
        not_yet_at=6,
        fires_at=8,
        well_at=15,
        labels={"namespace": "music", "fleet_service": "synthesis", "fleet_instance": "synthesis-1"},
        description="synthesis-1: its clock is -7.0 s from the median of all clocks.",
    ),
}
OTHER_WAYS = {
    "RenderBacklog": {
        of("auralis_overloaded"): "0x2 1x60",
        of("auralis_blocks_missing_total"): "0x60",
        of("auralis_render_demand_streams"): "10x60",
    },
    "GPUMemoryHigh": {of("auralis_render_out_of_memory_total"): "0x2 0+1x60"},
    "InstanceSilent": {
        'auralis_fleet_instances{fleet_service="edge",state="silent",instance="telemetry-1"}': "0x2 1x60"
    },
    "NatsReconnecting": {of("auralis_bus_reconnects_total"): "0x2 0+1x60", of("auralis_bus_connected"): "1x60"},
    "NoSynthesisWorkers": {
        of("auralis_ready_renderers"): "0x60",
        of("auralis_render_demand_streams"): "0x60",
        of("auralis_refusals_total", 'reason="overload"'): "0+1x60",
    },
    "PodNotStarting": {pod("container_status_waiting_reason", 'reason="ImagePullBackOff"'): "1x60"},
    "CertificateExpiring": {
        'probe_ssl_earliest_cert_expiry{job="auralis-ingress",instance="radio.example"}': "86400x500"
    },
    "DeliveryBudgetBurning": histogram("chunk_delivery_jitter_ms", "50.0", "100.0", slow=(3_600, 600), fast=(6_000, 5)),
    "BusStreamsChanged": {of("auralis_bus_streams_mended_total"): "0x2 1x60"},
}
"""Series that fire an alert by the other side of its `or`, within 20 minutes or 7 hours (the slow burn)."""


def told(*phases: tuple[float, int], each: float = 6_000.0) -> str:
    """A counter by the minute. In each phase (share, minutes) it rises by share * `each` per minute."""
    values = [0.0]
    for share, minutes in phases:
        values += [values[-1] + share * each * minute for minute in range(1, minutes + 1)]
    return " ".join(f"{value:.3f}" for value in values)


def late(*phases: tuple[float, int], name: str = "chunk_delivery_jitter_ms", limit: str = "50.0") -> dict[str, str]:
    """A histogram; in each phase (share, minutes) that share lies between the limit and twice the limit."""
    every = told((1, sum(minutes for _, minutes in phases)))
    above = f"{2 * float(limit):g}" + (".0" if limit == "50.0" else "")
    return {
        of(f"{name}_bucket", f'le="{limit}"'): told(*((1 - share, minutes) for share, minutes in phases)),
        of(f"{name}_bucket", f'le="{above}"'): every,
        of(f"{name}_bucket", 'le="+Inf"'): every,
        of(f"{name}_count"): every,
    }


def slow(share: float) -> dict[str, str]:
    return late((share, 30), name="synthesis_latency_seconds", limit="0.1")


def rate(name: str, a_minute: float, more: str = "", **beside: float) -> dict[str, str]:
    """A counter that rises by `a_minute`, and constant gauges."""
    return {of(name, more): told((1, 30), each=a_minute)} | {
        of(gauge): f"{level}x30" for gauge, level in beside.items()
    }


SEND_ERROR = 'error_type="stalled"'
BRINKS: dict[str, tuple[list[dict[str, str]], list[dict[str, str]]]] = {
    "DeliveryBudgetBurning": (
        [late((0, 390), (0.15, 65)), late((0.065, 450))],
        [
            late((0, 390), (0.138, 65)),
            # Enough in the short window and too little in the long one, then the reverse.
            late((0, 390), (1, 5)),
            late((0, 390), (1, 12), (0.1, 8)),
            late((0.055, 450)),
            late((0, 390), (0.1, 140)),
            late((0.08, 400), (0.04, 40)),
        ],
    ),
    "ChunkJitterHigh": ([late((0.015, 30))], [late((0.005, 30))]),
    "BufferUnderrunsHigh": (
        [
            rate("auralis_underruns_total", 2.1, auralis_listeners=200),
            rate("auralis_underruns_total", 1.1, auralis_listeners=100),
        ],
        [
            rate("auralis_underruns_total", 1.9, auralis_listeners=200),
            # Enough for each listener, and too few in all: one listener's bad network.
            rate("auralis_underruns_total", 0.9, auralis_listeners=1),
            rate("auralis_underruns_total", 2, auralis_listeners=0),
        ],
    ),
    "WebSocketErrorsHigh": (
        [rate("websocket_send_errors_total", 5.4, SEND_ERROR, auralis_listeners=1000)],
        [rate("websocket_send_errors_total", 4.6, SEND_ERROR, auralis_listeners=1000)],
    ),
    "ConnectionsNearLimit": (
        [
            {of("auralis_listeners"): "91x30", of("auralis_listeners_limit"): "100x30"},
            {of("auralis_listeners"): "1x30", of("auralis_listeners_limit"): "1x30"},
        ],
        [
            {of("auralis_listeners"): "89x30", of("auralis_listeners_limit"): "100x30"},
            {of("auralis_listeners"): "1x30", of("auralis_listeners_limit"): "0x30"},
        ],
    ),
    "EdgeSilent": (
        [{of("auralis_loudness_min_dbfs"): "-61x30", of("auralis_render_demand_streams"): "1x30"}],
        [{of("auralis_loudness_min_dbfs"): "-59x30", of("auralis_render_demand_streams"): "1x30"}],
    ),
    "StreamsDegraded": ([{of("auralis_degraded_streams"): "1x30"}], [{of("auralis_degraded_streams"): "0x30"}]),
    "ListenersRefused": (
        [
            rate("auralis_refusals_total", 1.1, 'reason="overload"'),
            rate("auralis_refusals_total", 1.1, 'reason="streams"'),
        ],
        [
            rate("auralis_refusals_total", 0.9, 'reason="overload"'),
            rate("auralis_refusals_total", 99, 'reason="address"'),
        ],
    ),
    "FirstAudioSlow": (
        [late((0.015, 30), name="auralis_first_audio_seconds", limit="0.5")],
        [
            late((0.005, 30), name="auralis_first_audio_seconds", limit="0.5"),
            {
                name: " ".join(f"{float(number) / 2_000:.4f}" for number in values.split())
                for name, values in late((0.5, 30), name="auralis_first_audio_seconds", limit="0.5").items()
            },
        ],
    ),
    "NoEdges": ([{UP_EDGES: "0x30"}], [{UP_EDGES: "1x30"}, {UP_EDGES.replace("edge", "synthesis"): "0x30"}]),
    "NoSynthesisWorkers": (
        [{of("auralis_ready_renderers"): "0x30", of("auralis_render_demand_streams"): "1x30"}],
        [
            {of("auralis_ready_renderers"): "1x30", of("auralis_render_demand_streams"): "1x30"},
            {of("auralis_ready_renderers"): "0x30", of("auralis_render_demand_streams"): "0x30"},
        ],
    ),
    "RenderHeadroomLow": (
        [{of("auralis_render_demand_streams"): "81x30", of("auralis_render_capacity_streams"): "100x30"}],
        [
            {of("auralis_render_demand_streams"): "79x30", of("auralis_render_capacity_streams"): "100x30"},
            {of("auralis_render_demand_streams"): "79x30", of("auralis_render_capacity_streams"): "0x30"},
        ],
    ),
    "OpenFilesNearLimit": (
        [{of("process_open_fds"): "81x30", of("process_max_fds"): "100x30", of("auralis_build_info"): "1x30"}],
        [{of("process_open_fds"): "79x30", of("process_max_fds"): "100x30", of("auralis_build_info"): "1x30"}],
    ),
    "AutoscalerAtMaximum": (
        [{hpa("status_desired_replicas"): "10x30", **HPA_LIMITS}],
        [{hpa("status_desired_replicas"): "9x30", **HPA_LIMITS}],
    ),
    "AutoscalerBlind": (
        [{hpa("status_condition", SCALING, "false"): "1x30"}],
        [{hpa("status_condition", SCALING, "false"): "0x30"}],
    ),
    "PodNotStarting": (
        [{pod("status_phase", 'phase="Pending"'): "1x30"}],
        [{pod("status_phase", 'phase="Pending"'): "0x30"}],
    ),
    "CertificateExpiring": (
        [{CERTIFICATE: f"{14 * DAY_S + 600}x30"}],
        [{CERTIFICATE: f"{14 * DAY_S + 1_200}x30"}],
    ),
    "SynthesisLatencyHigh": ([slow(0.015)], [slow(0.005)]),
    "RenderBacklog": (
        [rate("auralis_blocks_missing_total", 66, auralis_render_demand_streams=100)],
        [rate("auralis_blocks_missing_total", 54, auralis_render_demand_streams=100)],
    ),
    "GPUMemoryHigh": (
        [{of("gpu_memory_allocated_mb"): "86x30", of("auralis_gpu_memory_bytes"): "104857600x30"}],
        [
            {of("gpu_memory_allocated_mb"): "84x30", of("auralis_gpu_memory_bytes"): "104857600x30"},
            {of("gpu_memory_allocated_mb"): "84x30", of("auralis_gpu_memory_bytes"): "0x30"},
        ],
    ),
    "MemoryLeakDetected": (
        [{of("auralis_memory_leak"): "1x30", of("auralis_memory_growth_bytes_per_hour", 'kind="gpu"'): "1x30"}],
        [{of("auralis_memory_leak"): "0x30", of("auralis_memory_growth_bytes_per_hour", 'kind="gpu"'): "1x30"}],
    ),
    "InstanceSilent": (
        [{'auralis_fleet_instances{fleet_service="edge",state="silent",instance="telemetry-1"}': "1x30"}],
        [
            {'auralis_fleet_instances{fleet_service="edge",state="silent",instance="telemetry-1"}': "0x30"},
            {'auralis_fleet_instances{fleet_service="edge",state="up",instance="telemetry-1"}': "1x30"},
            {of("up", 'job="auralis/auralis-edge"'): "1x30"},
        ],
    ),
    "NatsReconnecting": (
        [rate("auralis_bus_reconnects_total", 0.33, auralis_bus_connected=1)],
        [rate("auralis_bus_reconnects_total", 0.27, auralis_bus_connected=1)],
    ),
    "BusStreamsChanged": (
        [{of("auralis_bus_stream_differs", 'stream="RENDER"'): "1x30"}],
        [{of("auralis_bus_stream_differs", 'stream="RENDER"'): "0x30"}],
    ),
    "ClockOffsetHigh": (
        [{of("auralis_clock_offset_seconds"): "0.55x30"}, {of("auralis_clock_offset_seconds"): "-0.55x30"}],
        [{of("auralis_clock_offset_seconds"): "0.45x30"}, {of("auralis_clock_offset_seconds"): "-0.45x30"}],
    ),
    "ClocksApart": (
        [{apart("edge-1"): "0.55x30"}, {apart("edge-1"): "-0.55x30"}],
        [{apart("edge-1"): "0.45x30"}, {apart("edge-1"): "-0.45x30"}],
    ),
}
"""Series just above an alert's limits, and just below them: a moved limit fails a test."""


def promtool(path: Path, tests: list[dict[str, Any]], *, every: str = "1m") -> None:
    file = path / "tests.yaml"
    file.write_text(json.dumps({"rule_files": [str(FILE)], "evaluation_interval": every, "tests": tests}))
    done = run(tool("promtool"), "test", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


def series(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"series": name, "values": text} for name, text in values.items()]


def test_every_alert_is_tested_firing_not_firing_and_recovering() -> None:
    assert set(CASES) == set(ALERTS)
    for name, case in CASES.items():
        assert 0 < case.not_yet_at < case.fires_at < case.well_at, name
        assert case.bad != case.well, name
        assert case.bad, name
        assert case.well, name


def test_the_share_of_late_chunks_is_recorded_over_each_window(tmp_path: Path) -> None:
    records = [rule["record"] for rule in RULES if "record" in rule]
    assert len(records) == 4
    # 30 of 600 chunks per minute are late.
    values = {
        'chunk_delivery_jitter_ms_bucket{le="50.0"}': "0+570x400",
        "chunk_delivery_jitter_ms_count": "0+600x400",
    }
    expected = [
        {
            "expr": f"round({record}, 0.0001)",
            "eval_time": "390m",
            "exp_samples": [{"labels": "{}", "value": 0.05}],
        }
        for record in records
    ]
    promtool(tmp_path, [{"interval": "1m", "input_series": series(values), "promql_expr_test": expected}])


def test_alerts_fire_with_a_description_and_recover(tmp_path: Path) -> None:
    tests = []
    for name, case in CASES.items():
        rule = ALERTS[name]
        fired = {
            "exp_labels": {**case.labels, **rule["labels"]},
            "exp_annotations": {**rule["annotations"], "description": case.description},
        }
        for which, values, moments in (
            ("bad", case.bad, ((case.not_yet_at, []), (case.fires_at, [fired]), (case.well_at, []))),
            ("well", case.well, ((case.fires_at, []), (case.well_at, []))),
        ):
            tests.append(
                {
                    "name": f"{name}, {which}",
                    "interval": "1m",
                    "input_series": series(values),
                    "alert_rule_test": [
                        {"eval_time": f"{minute}m", "alertname": name, "exp_alerts": expected}
                        for minute, expected in moments
                    ],
                }
            )
    promtool(tmp_path, tests)


def test_alerts_fire_by_the_other_side_of_an_or(tmp_path: Path) -> None:
    promtool(
        tmp_path,
        [
            {
                "name": name,
                "interval": "1m",
                "input_series": series(values),
                "promql_expr_test": [
                    {
                        "expr": f'count(last_over_time(ALERTS{{alertname="{name}",alertstate="firing"}}[7h]))',
                        "eval_time": "7h" if name == "DeliveryBudgetBurning" else "20m",
                        "exp_samples": [{"labels": "{}", "value": 1}],
                    }
                ],
            }
            for name, values in OTHER_WAYS.items()
        ],
    )


def test_alerts_fire_just_above_their_limits_and_not_just_below(tmp_path: Path) -> None:
    assert set(BRINKS) == set(ALERTS)
    hours: list[dict[str, Any]] = []
    minutes: list[dict[str, Any]] = []
    for name, (above, below) in BRINKS.items():
        for values, firing in [(each, 1) for each in above] + [(each, 0) for each in below]:
            last = max(len(text.split()) - 1 if " " in text else 30 for text in values.values())
            (hours if last > 60 else minutes).append(
                {
                    "name": f"{name}, {'above' if firing else 'below'}: {next(iter(values))}",
                    "interval": "1m",
                    "input_series": series(values),
                    "promql_expr_test": [
                        {
                            "expr": f'count(ALERTS{{alertname="{name}",alertstate="firing"}})',
                            "eval_time": f"{last}m",
                            "exp_samples": [{"labels": "{}", "value": 1}] * firing,
                        }
                    ],
                }
            )
    promtool(tmp_path, minutes)
    # A longer evaluation interval: seven hours by the minute take seconds.
    assert all(int(each["promql_expr_test"][0]["eval_time"][:-1]) % 5 == 0 for each in hours)
    promtool(tmp_path, hours, every="5m")


def test_a_wrong_expectation_is_found(tmp_path: Path) -> None:
    """promtool reads the tests."""
    rule = {"eval_time": "8m", "alertname": "StreamsDegraded", "exp_alerts": []}
    with pytest.raises(AssertionError, match="StreamsDegraded"):
        promtool(
            tmp_path,
            [{"interval": "1m", "input_series": series(CASES["StreamsDegraded"].bad), "alert_rule_test": [rule]}],
        )


def exposed() -> set[str]:
    """Names of every series that the services expose."""
    metrics = PrometheusMetrics()
    for make in (EdgeMetrics, SynthesisMetrics, TelemetryMetrics, BusMetrics, MemoryMetrics):
        make(metrics)
    metrics.describe_process(service="edge", clock_offset_s=lambda: 0.0)
    metrics.buffer_underruns_total.labels(client_id="client_0")
    families = list(metrics.registry.collect())
    # A family without children has a name and no sample.
    counters = {f"{family.name}_total" for family in families if family.type == "counter"}
    names = {family.name for family in families} | {sample.name for family in families for sample in family.samples}
    return names | counters


SERIES = re.compile(
    r"\b(?:auralis[a-z_0-9:]*|chunk_\w+|synthesis_\w+|websocket_\w+|gpu_\w+|memory_\w+|process_\w+|up)\b"
)


def test_rules_query_series_that_exist() -> None:
    names = exposed() | {"up"} | {rule["record"] for rule in RULES if "record" in rule}
    asked = {word for rule in RULES for word in SERIES.findall(re.sub(r'"[^"]*"', "", rule["expr"]))}
    assert asked - names == set()
    assert len(asked) > 15


RUNBOOKS = CHART.parent.parent / "docs" / "runbooks"


def test_every_alert_has_a_runbook_with_meaning_queries_and_steps() -> None:
    for name, rule in ALERTS.items():
        assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{name}.md"
        page = (RUNBOOKS / f"{name}.md").read_text()
        assert page.startswith(f"# {name}\n")
        headings = re.findall(r"^## (.+)$", page, re.MULTILINE)
        assert headings[:3] == ["What it means", "How to see it", "What to do"], name
        for part in re.split(r"^## .+$", page, flags=re.MULTILINE)[1:]:
            assert len(part.split()) > 15, name
    assert {page.stem for page in RUNBOOKS.glob("*.md")} - {"README"} == set(ALERTS)


def test_runbooks_query_series_that_exist() -> None:
    names = exposed() | {"up", "ALERTS"} | {rule["record"] for rule in RULES if "record" in rule}
    for page in RUNBOOKS.glob("*.md"):
        for query in re.findall(r"```promql\n(.*?)```", page.read_text(), re.DOTALL):
            asked = set(SERIES.findall(re.sub(r'"[^"]*"', "", query)))
            assert asked, f"{page.name}: {query}"
            assert asked - names == set(), page.name


def test_the_dashboard_counts_the_alerts_of_auralis_alone() -> None:
    text = (CHART / "files" / "dashboards" / "auralis.json").read_text()
    lists = set(re.findall(r'alertname=~\\"([^"\\]+)', text))
    assert [set(each.split("|")) for each in lists] == [set(ALERTS)]


def test_every_alert_has_a_severity_a_summary_and_a_description() -> None:
    for name, rule in ALERTS.items():
        assert "$value" in rule["annotations"]["description"], name
        assert rule["labels"]["severity"] in ("warning", "critical"), name
        assert not rule["annotations"]["summary"].endswith("."), name
        assert rule["annotations"]["description"].endswith("."), name


def test_the_chart_makes_a_rule_object_of_the_file() -> None:
    values = {"monitoring": {"rules": {"enabled": True, "labels": {"release": "prometheus"}}}}
    rendered = render(values).one("PrometheusRule", "auralis-alerts")
    assert rendered["spec"] == yaml.safe_load(FILE.read_text())
    assert rendered["metadata"]["labels"]["release"] == "prometheus"

    published = render(merge(values, tree("monitoring.rules.runbooksUrl", "https://music.example/runbooks/")))
    for group in published.one("PrometheusRule", "auralis-alerts")["spec"]["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                assert rule["annotations"]["runbook_url"] == f"https://music.example/runbooks/{rule['alert']}.md"
                assert len(rule["annotations"]) == 3

    fewer = render(merge(values, tree("monitoring.rules.disabled", ["NoSynthesisWorkers", "GPUMemoryHigh"])))
    groups = fewer.one("PrometheusRule", "auralis-alerts")["spec"]["groups"]
    left = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
    assert left == set(ALERTS) - {"NoSynthesisWorkers", "GPUMemoryHigh"}


def test_prometheus_takes_the_file() -> None:
    done = run(tool("promtool"), "check", "rules", "--lint=all", "--lint-fatal", str(FILE))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("kind", ["PodMonitor", "ServiceMonitor"])
def test_monitors_scrape_each_component_once_and_of_telemetry_its_own_series(kind: str) -> None:
    times = {"interval": "7s", "scrapeTimeout": "5s"}
    rendered = render({"monitoring": {"monitors": kind, **times, "labels": {"release": "prometheus"}}})
    found = {each["metadata"]["name"]: each for each in rendered.all(kind)}
    assert set(found) == {"auralis-edge", "auralis-synthesis", "auralis-telemetry"}
    for name, each in found.items():
        (endpoint,) = each["spec"]["podMetricsEndpoints" if kind == "PodMonitor" else "endpoints"]
        assert endpoint["interval"] == "7s"
        # Without it telemetry would answer with the series of every pod a second time.
        assert endpoint.get("params") == ({"scope": ["self"]} if name == "auralis-telemetry" else None)
        assert {each["targetLabel"] for each in endpoint["relabelings"]} == {"service", "instance", "release"}
        assert each["metadata"]["labels"]["release"] == "prometheus"
    assert render().all(kind) == []


@pytest.mark.parametrize("monitors", ["PodMonitor", "ServiceMonitor"])
def test_instance_silent_selects_the_jobs_of_a_release_with_any_name(monitors: str) -> None:
    values = merge(tree("monitoring.monitors", monitors), tree("fullnameOverride", "radio"))
    rendered = render(values, release="radio", namespace="radio")
    (pattern,) = re.findall(r'up\{job=~"([^"]+)"\}', ALERTS["InstanceSilent"]["expr"])
    found = rendered.all(monitors)
    assert len(found) == 3
    for each in found:
        component = each["metadata"]["labels"]["app.kubernetes.io/component"]
        target = rendered.one("Service", f"radio-{component}-internal") if monitors == "ServiceMonitor" else None
        labels = target["metadata"]["labels"] if target else rendered.pod(component)[0]["labels"]
        assert re.fullmatch(pattern, labels[each["spec"]["jobLabel"]])
