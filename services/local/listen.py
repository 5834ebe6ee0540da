"""What `auralis listen` prints and where it writes (shell)."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Final

from services.client.client import Client, ClientError
from services.client.listen import Moment, Sink, listen
from services.client.recorder import PipeWriter, WavRecorder
from services.client.session import Format
from services.client.statistics import Summary
from services.contract.spec import StreamSpec
from services.local import http_get

EXIT_FAILED: Final = 1


class _Nowhere:
    """Only the figures are wanted."""

    ended = False

    def write(self, chunk_id: int, pcm: bytes) -> None:
        """Forget it."""


class _File:
    ended = False

    def __init__(self, recorder: WavRecorder) -> None:
        self._recorder = recorder

    def write(self, chunk_id: int, pcm: bytes) -> None:
        self._recorder.write(chunk_id, pcm)


class _Pipe:
    def __init__(self, writer: PipeWriter) -> None:
        self._writer = writer

    @property
    def ended(self) -> bool:
        return self._writer.broken

    def write(self, chunk_id: int, pcm: bytes) -> None:  # noqa: ARG002 - the sink's signature
        self._writer.write(pcm)


def run_listen(
    url: str,
    spec: StreamSpec,
    *,
    seconds: float | None,
    output: str | None,
    format_: Format,
    token: str | None,
    as_json: bool,
) -> int:
    """Listen until the end; returns the exit status."""
    headers = {"Authorization": f"Bearer {token}"} if token else None
    client = Client(url, spec, format=format_, headers=headers)
    try:
        summary, extra = asyncio.run(_run(client, seconds, output))
    except ClientError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_FAILED
    except OSError as error:
        sys.stderr.write(f"{output}: {error.strerror or error}.\n")
        return EXIT_FAILED
    text = json.dumps({**summary.to_json(), **extra}) if as_json else describe(summary, extra)
    # Standard output may be carrying the sound.
    (sys.stderr if output == "-" else sys.stdout).write(f"{text}\n")
    return 0 if summary.chunks else EXIT_FAILED


async def _run(client: Client, seconds: float | None, output: str | None) -> tuple[Summary, dict[str, int]]:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    show = _Line() if sys.stderr.isatty() else None
    on_moment = show.show if show else None

    async def hear(sink: Sink) -> Summary:
        try:
            return await listen(client, sink, seconds=seconds, stopping=stopping, on_moment=on_moment, fetch=_http_body)
        finally:
            if show:
                show.clear()

    if output is None:
        return await hear(_Nowhere()), {}
    if output == "-":
        writer = PipeWriter(sys.stdout.buffer)
        try:
            summary = await hear(_Pipe(writer))
        finally:
            # At the end of a bounded recording the reader may take its time; after Ctrl-C nobody waits for it.
            await asyncio.to_thread(writer.close, 0.5 if stopping.is_set() else 10.0)
        return summary, {"dropped_chunks": writer.dropped_chunks}
    with WavRecorder(Path(output)) as recorder:
        summary = await hear(_File(recorder))
    return summary, {"silent_chunks": recorder.silent_chunks}


async def _http_body(host: str, port: int, path: str) -> bytes | None:
    response = await http_get.get(host, port, path)
    return response.body if response is not None and response.status == 200 else None


class _Line:
    """One line on the terminal that is written over and over."""

    def show(self, moment: Moment) -> None:
        """Write it."""
        sys.stderr.write(f"\r\x1b[2K{live_line(moment)}")
        sys.stderr.flush()

    def clear(self) -> None:
        """Take it away."""
        sys.stderr.write("\r\x1b[2K")
        sys.stderr.flush()


def live_line(moment: Moment) -> str:
    """A moment in one line."""
    minutes, rest = divmod(int(moment.seconds), 60)
    parts = [
        f"♪ {minutes}:{rest:02}",
        f"{moment.tier} tier",
        f"{moment.buffer_s:.1f} s buffered",
        f"jitter {moment.jitter_ms:.1f} ms",
    ]
    if moment.underruns:
        parts.append(f"{moment.underruns} underrun{'s' if moment.underruns > 1 else ''}")
    if moment.chord:
        parts.append(moment.chord)
    return "  ".join(parts)


def describe(summary: Summary, extra: dict[str, int]) -> str:
    """The figures in words."""
    if not summary.chunks:
        return "Nothing was heard."
    faults = [
        f"{count} {name}"
        for count, name in (
            (summary.gaps, f"gaps ({summary.missing_chunks} chunks)"),
            (summary.repeats, "repeats"),
            (summary.underruns, "underruns"),
            (extra.get("dropped_chunks", 0), "chunks dropped because the reader was too slow"),
        )
        if count
    ]
    first = "" if summary.first_audio_ms is None else f"first sound after {summary.first_audio_ms:.0f} ms, "
    text = (
        f"{summary.chunks} chunks ({summary.chunks / 10:.1f} s) in {summary.seconds:.1f} s: {first}"
        f"jitter p95 {summary.jitter_p95_ms:.1f} ms (p99 {summary.jitter_p99_ms:.1f} ms); "
        f"{', '.join(faults) or 'no gap, no repeat, no underrun'}."
    )
    if summary.reconnects:
        text += f" Reconnected {summary.reconnects} times, {summary.recovered} without a gap."
    return text
