"""Traces of blocks with OpenTelemetry, switched on by AURALIS_TRACES (shell: OpenTelemetry).

The steps of a block are ask, fetch, render, publish, arrive and write. The id of its trace is a hash of stream and
block, so all services find the same trace without passing a context, and trace the same share of blocks. Spans are
reported after the fact, with times of the services' own clocks.

Traces are process-wide, as OpenTelemetry is. `active` is None while they are off; that check is all they cost then.
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
"""The parent of the other steps."""
MAX_REMEMBERED: Final = 10_000
"""Steps reported with `once` that are remembered; overflow forgets the oldest."""

active: BlockTraces | None = None


class BlockTraces:
    """Reports the steps of traced blocks.

    Args:
        provider: a tracer provider of OpenTelemetry's SDK whose id generator is `ids`.
        ids: generates the ids; gives the first step of a block its fixed id.
        share: share of the blocks that are traced, 0 to 1.
    """

    def __init__(self, provider: Any, ids: Any, share: float) -> None:
        self._provider = provider
        self._ids = ids
        self._tracer = provider.get_tracer("auralis", build_version())
        self._limit = round(share * 2**32)
        self._reported: OrderedDict[tuple[Step, str, int], None] = OrderedDict()

    def add(
        self, step: Step, stream_id: str, block: int, start_s: float, end_s: float, *, once: bool = False, **more: Any
    ) -> None:
        """Report a step, if its block is traced.

        Args:
            step: its name.
            stream_id, block: the block.
            start_s, end_s: unix seconds.
            once: report only the first such step of a block, as when it has many listeners.
            more: further attributes of the span.
        """
        digest = hashlib.sha256(f"{stream_id}/{block}".encode()).digest()
        if int.from_bytes(digest[24:28]) >= self._limit:
            return
        if once:
            key = (step, stream_id, block)
            if key in self._reported:
                return
            self._reported[key] = None
            if len(self._reported) > MAX_REMEMBERED:
                self._reported.popitem(last=False)
        from opentelemetry import trace  # noqa: PLC0415 - an extra, loaded when traces are on

        # Zero is not a valid id.
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
        """Send the spans that wait; idempotent."""
        self._provider.shutdown()


def open_traces(settings: Settings, *, service: str, instance: str, exporter: Any = None) -> BlockTraces | None:
    """Switch traces on if the settings say so; None: they are off.

    Args:
        settings: `traces` and `traces_share` are used.
        service, instance: attributes of every span.
        exporter: where spans go; None: as the settings say.

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
    """Switch traces off and send the spans that wait; idempotent."""
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
        """Random ids, except for the next span after `fixed` was set."""

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
        # The share of traced blocks is applied before a span is made.
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
