"""Thousands of listeners in one process: connect, measure, throw away, come back when sent away (shell).

    python -m services.loadtest.listeners URL --listeners 2000 --seconds 60

Runs in a pod (loadtests/jobs/drain.yaml, `auralis loadtest`) or anywhere. Standard output is lines of JSON: one a
second with `"kind": "progress"`, at the end one with `"kind": "result"`. With --of and the variable
JOB_COMPLETION_INDEX, or --index, it is one of several that share the listeners. SIGTERM and Ctrl-C end it early, with a
result.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast, get_args
from urllib.parse import urlsplit

from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Response
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from services.contract.spec import StreamSpec
from services.contract.websocket import CloseCode
from services.loadtest import frames, messages
from services.loadtest.frames import FrameError, FrameReader, Message
from services.loadtest.plan import share
from services.loadtest.tally import Place, Tally

CONNECT_S: Final = 10.0
FIRST_WAIT_S: Final = 0.1
MAX_WAIT_S: Final = 5.0
GIVE_UP_S: Final = 60.0
"""Without a connection for so long, a listener counts as failed."""
READ_BYTES: Final = 256 * 1024

_room = bytearray(READ_BYTES)
"""Everybody reads into it: what is in it is looked at before the next one reads."""
_view = memoryview(_room)


@dataclass(frozen=True)
class Options:
    """What a process is to do.

    Attributes:
        listeners: of this process; first: the number of the first one among all.
        streams: different streams that all listeners are spread over; seed: the first one's.
        ramp_s: over this time they are begun. seconds: how long they stay after it.
    """

    url: str
    listeners: int
    seconds: float
    ramp_s: float = 10.0
    streams: int = 8
    seed: int = 1
    first: int = 0
    wire: messages.Wire = "pcm"
    token: str | None = None


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """An edge turned the listener away."""

    def __init__(self, status: int, retry_after_s: float | None) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(f"the edge answered {status}")


class Connection(asyncio.BufferedProtocol):
    """One WebSocket connection of a listener."""

    def __init__(self, options: Options, tally: Tally, listener: Listener) -> None:
        self._tally = tally
        self._listener = listener
        headers = Headers()
        if options.token:
            headers["Authorization"] = f"Bearer {options.token}"
        self._handshake = ClientProtocol(
            parse_uri(options.url),
            subprotocols=[Subprotocol(messages.SUBPROTOCOLS[options.wire])],
            max_size=None,
        )
        self._extra = headers
        self._answer = bytearray()
        self._reader = FrameReader()
        self._open = False
        self._transport: asyncio.Transport | None = None
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[Close] = loop.create_future()
        self.close = Close(1006, "")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self._transport = cast("asyncio.Transport", transport)
        request = self._handshake.connect()
        request.headers.update(self._extra)
        self._handshake.send_request(request)
        for data in self._handshake.data_to_send():
            self._transport.write(data)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """The room that all connections share."""
        return _view

    def buffer_updated(self, nbytes: int) -> None:
        """Look at what came."""
        view = _view[:nbytes]
        try:
            if not self._open:
                self._take_answer(bytes(view))
                return
            self._tally.bytes += nbytes
            self._take(view)
        except (FrameError, Refused) as error:
            self._fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over, by whomever."""
        if not self.opened.done():
            self.opened.set_exception(exc or ConnectionError("the edge hung up during the upgrade"))
        if not self.closed.done():
            self.closed.set_result(self.close)

    def send(self, data: bytes) -> None:
        """Send a text message."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(Frame(Opcode.TEXT, data).serialize(mask=True))

    def abort(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()

    def _take_answer(self, data: bytes) -> None:
        self._answer += data
        head, mark, rest = bytes(self._answer).partition(b"\r\n\r\n")
        if not mark:
            return
        self._handshake.receive_data(head + mark)
        if self._handshake.handshake_exc is not None:
            raise _refusal(self._handshake.handshake_exc, head)
        if not any(isinstance(event, Response) for event in self._handshake.events_received()):
            # A refusal's body is still to come; its head is all that is needed.
            raise _refusal(None, head)
        self._open = True
        self._answer.clear()
        if not self.opened.done():
            # Whoever has waited for too long has given up.
            self.opened.set_result(None)
        self._tally.bytes += len(rest)
        if rest:
            self._take(memoryview(rest))

    def _take(self, view: memoryview) -> None:
        for message in self._reader.feed(view):
            if message.opcode in {frames.TEXT, frames.BINARY}:
                self._listener.receive(messages.read(message))
            elif message.opcode == frames.CLOSE:
                self._take_close(message)
            elif message.opcode == frames.PING and self._transport is not None:
                self._transport.write(Frame(Opcode.PONG, message.head).serialize(mask=True))

    def _take_close(self, message: Message) -> None:
        self.close = Close.parse(message.head) if message.head else Close(1005, "")
        if self._transport is not None:
            self._transport.write(Frame(Opcode.CLOSE, message.head[:2]).serialize(mask=True))
            self._transport.close()

    def _fail(self, error: Exception) -> None:
        if not self.opened.done():
            self.opened.set_exception(error)
        elif not self.closed.done():
            self.closed.set_exception(error)
        self.abort()


def _refusal(error: Exception | None, head: bytes) -> Exception:
    if error is not None and not isinstance(error, InvalidStatus):
        return FrameError(str(error))
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split()
    status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    try:
        retry_after_s: float | None = float(fields.get("retry-after", ""))
    except ValueError:
        retry_after_s = None
    return Refused(status, retry_after_s)


class Listener:
    """One listener, over any number of connections."""

    def __init__(self, options: Options, number: int, tally: Tally) -> None:
        self._options = options
        self._tally = tally
        self._spec = StreamSpec.from_params({"seed": options.seed + number % options.streams})
        self._place = Place(time.monotonic())
        self._resume: str | None = None
        self._again = False
        self.stopped = False
        """By the edge, with code 1000."""

    def receive(self, said: messages.Audio | dict[str, Any]) -> None:
        """Count what came."""
        if isinstance(said, messages.Audio):
            self._tally.chunk(self._place, said.chunk_id, said.tier, time.monotonic())
            if self._again:
                # JSON without events: nobody says whether it goes on.
                self._welcome(recovered=None)
            return
        token = said.get("resume")
        if isinstance(token, str) and token:
            self._resume = token
        match said.get("type"):
            case "hello":
                if self._again and isinstance(said.get("recovered"), bool):
                    self._welcome(recovered=said["recovered"])
            case "splice":
                self._tally.splice(self._place, int(said["chunk_id"]))
            case "status":
                self._tally.skips += said.get("state") == "skipped"
            case _:
                pass

    def _welcome(self, *, recovered: bool | None) -> None:
        self._again = False
        self._tally.reconnected(self._place, recovered=recovered)

    async def listen(self) -> None:
        """Until it is cancelled, or cannot go on."""
        self._tally.listeners += 1
        self._place.began_s = time.monotonic()
        wait_s = 0.0
        gone_s = time.monotonic()
        while True:
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads listeners, no secret
            try:
                close = await self._one_connection()
            except Refused as error:
                self._tally.refused += 1
                problem = str(error)
                wait_s = min(error.retry_after_s or max(FIRST_WAIT_S, 2 * wait_s), MAX_WAIT_S)
            except (OSError, TimeoutError, FrameError) as error:
                problem = str(error) or type(error).__name__
                wait_s = min(max(FIRST_WAIT_S, 2 * wait_s), MAX_WAIT_S)
            else:
                if close.code in {CloseCode.STOPPED, CloseCode.BAD_MESSAGE, CloseCode.UNAUTHORIZED, CloseCode.POLICY}:
                    self._tally.failed(f"the edge closed with {close.code} {close.reason}".strip())
                    return
                if close.code == CloseCode.RESTART and close.reason:
                    self._resume = close.reason
                problem = f"the edge closed with {close.code}"
                self._again = self._place.last_id is not None
                wait_s = 0.0 if close.code in {CloseCode.RESTART, 1006} else FIRST_WAIT_S
                gone_s = time.monotonic()
            if time.monotonic() - gone_s > GIVE_UP_S:
                self._tally.failed(problem)
                return

    async def _one_connection(self) -> Close:
        """Connect, listen; how it ended."""
        place = urlsplit(self._options.url)
        secure = place.scheme == "wss"
        loop = asyncio.get_running_loop()
        connection = Connection(self._options, self._tally, self)
        async with asyncio.timeout(CONNECT_S):
            await loop.create_connection(
                lambda: connection, place.hostname or "", place.port or (443 if secure else 80), ssl=secure or None
            )
            try:
                await connection.opened
            except BaseException:
                connection.abort()
                raise
        self._tally.listening += 1
        try:
            connection.send(messages.start(self._spec, resume=self._resume, next_id=self._place.next_id))
            return await connection.closed
        except asyncio.CancelledError:
            connection.send(messages.stop())
            raise
        finally:
            self._tally.listening -= 1
            if not connection.closed.done():
                # Its goodbye goes out first.
                loop.call_later(0.5, connection.abort)


def say(kind: str, index: int, **values: Any) -> None:
    """Print a line for whoever collects them."""
    line = {"kind": kind, "index": index, "unix_s": round(time.time(), 1), **values}
    sys.stdout.write(json.dumps(line, separators=(",", ":")) + "\n")
    sys.stdout.flush()


async def run(options: Options, index: int = 0) -> Tally:
    """Begin all listeners, stay, end; prints progress and the result."""
    tally = Tally()
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, ending.set)
    tasks: list[asyncio.Task[None]] = []
    began_s = time.monotonic()
    end_s = began_s + options.ramp_s + options.seconds

    async def begin() -> None:
        for number in range(options.listeners):
            await asyncio.sleep(began_s + options.ramp_s * number / options.listeners - time.monotonic())
            tasks.append(asyncio.create_task(Listener(options, options.first + number, tally).listen()))

    beginning = asyncio.create_task(begin())
    cpu_s = time.process_time()
    late_s = 0.0
    while not ending.is_set() and time.monotonic() < end_s:
        before_s = time.monotonic()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ending.wait(), min(1.0, max(0.0, end_s - before_s)))
        # How late this loop is: above a few ms the figures tell of this process rather than of the edge.
        late_s = max(late_s, time.monotonic() - before_s - 1.0)
        share_done = min(1.0, (time.monotonic() - began_s) / (end_s - began_s))
        say("progress", index, share=round(share_done, 3), **tally.moment())
    taken_s = time.monotonic() - began_s
    result = tally.to_json()
    beginning.cancel()
    for task in tasks:
        task.cancel()
    await asyncio.gather(beginning, *tasks, return_exceptions=True)
    await asyncio.sleep(0.6)
    own = {
        "seconds": round(taken_s, 1),
        "cpu_s": round(time.process_time() - cpu_s, 2),
        "late_ms": round(late_s * 1000),
    }
    figures = {"first_audio_ms": tally.first_audio_ms.figures_ms(), "jitter_ms": tally.jitter_ms.figures_ms()}
    say("result", index, early=ending.is_set(), own=own, figures=figures, tally=result)
    return tally


def read_options(arguments: Sequence[str] | None) -> tuple[Options, int]:
    """The command line; which of several this is."""
    parser = argparse.ArgumentParser(
        prog="python -m services.loadtest.listeners",
        description="Listen with many, measure, throw away.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("url", help="ws://HOST:PORT/ws")
    parser.add_argument("--listeners", type=int, default=100, help="of all processes together")
    parser.add_argument("--seconds", type=float, default=60.0, help="to stay, after all have begun")
    parser.add_argument("--ramp", type=float, default=10.0, help="seconds over which listeners begin")
    parser.add_argument("--streams", type=int, default=8, help="different streams to spread them over")
    parser.add_argument("--seed", type=int, default=1, help="of the first stream")
    parser.add_argument("--format", choices=get_args(messages.Wire), default="pcm", help="on the wire")
    parser.add_argument("--of", type=int, default=1, help="processes that share the listeners")
    parser.add_argument(
        "--index",
        type=int,
        default=int(os.environ.get("JOB_COMPLETION_INDEX", "0")),
        help="which of them this is, from 0",
    )
    read = parser.parse_args(arguments)
    if min(read.listeners, read.of, read.streams) < 1 or not 0 <= read.index < read.of:
        parser.error("--listeners, --of and --streams are 1 or more, and --index is below --of")
    first, count = share(read.listeners, read.of, read.index)
    options = Options(
        url=read.url, listeners=count, seconds=read.seconds, ramp_s=read.ramp, streams=read.streams, seed=read.seed,
        first=first, wire=read.format, token=os.environ.get("AURALIS_TOKEN"),
    )  # fmt: skip
    return options, read.index


def raise_file_limit() -> None:
    """As many open connections as the system lets us have."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource  # noqa: PLC0415 - not on Windows

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 0 unless not one listener heard anything."""
    options, index = read_options(arguments)
    raise_file_limit()
    try:
        import uvloop  # noqa: PLC0415 - where there is one
    except ImportError:
        tally = asyncio.run(run(options, index))
    else:
        tally = uvloop.run(run(options, index))
    return 0 if tally.heard else 1


if __name__ == "__main__":
    sys.exit(main())
