"""Traces of blocks with OpenTelemetry, switched on by AURALIS_TRACES (shell: OpenTelemetry).

A block's trace needs nothing handed over between services: its id is a hash of stream and block, as music is a function
of them. So every service finds the same trace, and the same share of blocks is traced everywhere. Spans are told after
the fact, with times of the services' own clocks.

Process-wide, as OpenTelemetry itself is: `active` is None while traces are off, and asking that is all they cost.
"""

from __future__ import annotations

import hashlib
import sys
from collections import OrderedDict
from typing import Any, Final, Literal

from services.runtime.errors import ServiceError
from services.runtime.metrics import build_version
from services.runtime.settings import Settings

Step = Literal["ask", "fetch", "render", "publish", "arrive", "write"]
FIRST: Final = "ask"
"""The others hang below it."""
MAX_TOLD: Final = 10_000
"""Steps of which only the first of many is told (`once`) and that are remembered; overflow: the oldest is forgotten."""

active: BlockTraces | None = None


class BlockTraces:
    """Tells the steps of traced blocks.

    Args:
        provider: a tracer provider of OpenTelemetry's SDK whose id generator is `ids`.
        ids: gives the first step of a block its fixed id.
        share: of the blocks that are traced, 0 to 1.
    """

    def __init__(self, provider: Any, ids: Any, share: float) -> None:
        self._provider = provider
        self._ids = ids
        self._tracer = provider.get_tracer("auralis", build_version())
        self._limit = round(share * 2**32)
        self._told: OrderedDict[tuple[Step, str, int], None] = OrderedDict()

    def add(
        self, step: Step, stream_id: str, block: int, start_s: float, end_s: float, *, once: bool = False, **more: Any
    ) -> None:
        """Tell a step, if the block is one of those that are traced.

        Args:
            step: its name.
            stream_id, block: which block.
            start_s, end_s: unix seconds.
            once: only the first such step of a block counts, as of many listeners.
            more: attributes.
        """
        digest = hashlib.sha256(f"{stream_id}/{block}".encode()).digest()
        if int.from_bytes(digest[24:28]) >= self._limit:
            return
        if once:
            key = (step, stream_id, block)
            if key in self._told:
                return
            self._told[key] = None
            if len(self._told) > MAX_TOLD:
                self._told.popitem(last=False)
        from opentelemetry import trace  # noqa: PLC0415 - an extra, loaded when traces are on

        # An id of zero is none.
        trace_id, first_id = int.from_bytes(digest[:16]) or 1, int.from_bytes(digest[16:24]) or 1
        if step == FIRST:
            self._ids.fixed = (trace_id, first_id)
            context = trace.set_span_in_context(trace.INVALID_SPAN)
        else:
            parent = trace.SpanContext(
                trace_id, first_id, is_remote=True, trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED)
            )
            context = trace.set_span_in_context(trace.NonRecordingSpan(parent))
        span = self._tracer.start_span(
            step,
            context=context,
            start_time=round(start_s * 1e9),
            attributes={"auralis.stream": stream_id, "auralis.block": block, **more},
        )
        span.end(end_time=round(max(start_s, end_s) * 1e9))

    def close(self) -> None:
        """Send what waits; idempotent."""
        self._provider.shutdown()


def open_traces(settings: Settings, *, service: str, instance: str, exporter: Any = None) -> BlockTraces | None:
    """Switch traces on as the settings say; None while they are off.

    Args:
        settings: `traces` and `traces_share`.
        service, instance: who we are, on every span.
        exporter: tests give their own.

    Raises:
        ServiceError: OpenTelemetry is not installed.
    """
    global active  # noqa: PLW0603 - see the module's docstring
    if settings.traces == "off":
        return None
    try:
        active = _make(settings, service, instance, exporter)
    except ModuleNotFoundError as error:
        raise ServiceError(
            f"AURALIS_TRACES={settings.traces}: {error.name} is not installed; `uv pip install -e '.[traces]'`, or "
            "unset it"
        ) from error
    return active


def close_traces() -> None:
    """Switch traces off and send what waits; idempotent."""
    global active
    traces, active = active, None
    if traces is not None:
        traces.close()


def _make(settings: Settings, service: str, instance: str, exporter: Any) -> BlockTraces:
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - an extra
    from opentelemetry.sdk.trace import TracerProvider, sampling  # noqa: PLC0415 - as above
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter  # noqa: PLC0415 - as above
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator  # noqa: PLC0415 - as above

    class Ids(RandomIdGenerator):
        """Random, but for the next span after `fixed` was set."""

        fixed: tuple[int, int] | None = None

        def generate_trace_id(self) -> int:
            return super().generate_trace_id() if self.fixed is None else self.fixed[0]

        def generate_span_id(self) -> int:
            fixed, self.fixed = self.fixed, None
            return super().generate_span_id() if fixed is None else fixed[1]

    ids = Ids()
    if exporter is None and settings.traces == "console":
        exporter = ConsoleSpanExporter(out=sys.stderr, formatter=lambda span: span.to_json(indent=None) + "\n")
    elif exporter is None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - as above

        exporter = OTLPSpanExporter()
    provider = TracerProvider(
        # Which blocks are traced is decided before a span is made.
        sampler=sampling.ALWAYS_ON,
        resource=Resource.create(
            {
                "service.name": f"auralis-{service}",
                "service.instance.id": instance,
                "service.version": build_version(),
                "deployment.environment.name": settings.env,
            }
        ),
        id_generator=ids,
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return BlockTraces(provider, ids, settings.traces_share)
