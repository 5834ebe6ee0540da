"""`auralis listen` (shell): writes sound to a file or pipe, and prints figures."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Final

from services.client.client import Client
from services.client.errors import ClientError
from services.client.listen import Moment, Sink, listen
from services.client.recorder import PipeWriter, WavRecorder
from services.client.session import Format
from services.client.statistics import Summary
from services.contract.spec import StreamSpec
from services.local import http_get

EXIT_FAILED: Final = 1
FLUSH_S: Final = 10.0
"""How long the reader of a pipe may take for the rest of a finished recording."""
STOPPED_FLUSH_S: Final = 0.5
"""How long it may take after Ctrl-C."""


class _DiscardSink:
    """Discards the sound: only the figures are wanted."""

    ended = False

    def write(self, chunk_id: int, pcm: bytes) -> None:
        """Discard a chunk."""


class _FileSink:
    ended = False

    def __init__(self, recorder: WavRecorder) -> None:
        self._recorder = recorder

    def write(self, chunk_id: int, pcm: bytes) -> None:
        self._recorder.write(chunk_id, pcm)


class _PipeSink:
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
    """Listen until the end of the recording, Ctrl-C or SIGTERM.

    Args:
        url: ws://HOST:PORT/ws of an edge.
        spec: the stream.
        seconds: of sound; None: until it is stopped.
        output: a WAV file (past 6 h 45 min also `NAME-2.wav`, …); "-": raw PCM on standard output; None: discard it.
        format_: format on the wire.
        token: a JWT for edges that require one.
        as_json: print the figures as one JSON object.

    Returns:
        Exit status: 0, or 1 if nothing was heard or the output cannot be written.
    """
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
    # Standard output may carry the sound.
    (sys.stderr if output == "-" else sys.stdout).write(f"{text}\n")
    return 0 if summary.chunks else EXIT_FAILED


async def _run(client: Client, seconds: float | None, output: str | None) -> tuple[Summary, dict[str, int]]:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    status_line = _StatusLine() if sys.stderr.isatty() else None
    on_moment = status_line.show if status_line else None

    async def hear(sink: Sink) -> Summary:
        try:
            return await listen(client, sink, seconds=seconds, stopping=stopping, on_moment=on_moment, fetch=_http_body)
        finally:
            if status_line:
                status_line.clear()

    if output is None:
        return await hear(_DiscardSink()), {}
    if output == "-":
        writer = PipeWriter(sys.stdout.buffer)
        try:
            summary = await hear(_PipeSink(writer))
        finally:
            await asyncio.to_thread(writer.close, STOPPED_FLUSH_S if stopping.is_set() else FLUSH_S)
        return summary, {"dropped_chunks": writer.dropped_chunks}
    with WavRecorder(Path(output), on_next_file=_show_next_file) as recorder:
        summary = await hear(_FileSink(recorder))
    return summary, {"silent_chunks": recorder.silent_chunks}


def _show_next_file(path: Path) -> None:
    sys.stderr.write(f"The WAV file is as long as WAV files can be (6 h 45 min); the recording goes on in {path}.\n")


async def _http_body(host: str, port: int, path: str) -> bytes | None:
    response = await http_get.get(host, port, path)
    return response.body if response is not None and response.status == 200 else None


class _StatusLine:
    """A line on the terminal that is rewritten in place."""

    def show(self, moment: Moment) -> None:
        """Rewrite it."""
        sys.stderr.write(f"\r\x1b[2K{live_line(moment)}")
        sys.stderr.flush()

    def clear(self) -> None:
        """Remove it."""
        sys.stderr.write("\r\x1b[2K")
        sys.stderr.flush()


def live_line(moment: Moment) -> str:
    """A moment of listening in one line."""
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
    """The figures of a whole session in words.

    Args:
        summary: of the client.
        extra: "dropped_chunks" of a pipe, if there was one.
    """
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
