"""HTTP streams (shell): `/stream.opus` and `/stream.mp3`, encoded once per stream and format however many listen.

To the hub a mount is one listener like any other: it holds a cursor on the stream and takes PCM. Behind it, a thread
encodes each chunk once, and every HTTP listener has a short queue of encoded parts. A joiner first gets the parts of
the last seconds, so that players start at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from services.contract.spec import StreamSpec
from services.contract.timebase import CHUNK_BYTES, tick_at
from services.contract.websocket import FRAME_HEADER_BYTES, CloseCode
from services.edge.codecs.mount_encoder import MountEncoder, MountFormat
from services.edge.fanout.connection import Connection
from services.edge.fanout.hub import Hub
from services.edge.listener.payloads import Format, Payload
from services.edge.wire.transport import RawSocket
from services.runtime.observability.logging import get_logger

_log = get_logger(__name__)

BURST_PARTS: Final = 20
"""Encoded chunks that a joiner gets at once: most players wait for a second or two before they begin."""
QUEUE_PARTS: Final = 100
"""Overflow: the listener skips to the newest part ("skip_ahead"), and it is counted."""
ENCODER_THREADS: Final = 2


class MountClosedError(Exception):
    """The stream cannot go on; `code` is the WebSocket close code that stands for the reason."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(f"{code}: {reason}")


class MountListener:
    """One HTTP listener's queue of encoded parts."""

    def __init__(self, mount: Mount) -> None:
        self.mount = mount
        self.skips = 0
        self._parts: deque[bytes] = deque(part for part in (mount.head, *mount.recent) if part)
        self._wake = asyncio.Event()
        if mount.recent:
            self._wake.set()

    def push(self, part: bytes) -> None:
        """Queue a part; a full queue is emptied first."""
        if len(self._parts) >= QUEUE_PARTS:
            self._parts.clear()
            self.skips += 1
            self.mount.count_skip()
        self._parts.append(part)
        self._wake.set()

    def end(self) -> None:
        """The mount is closed: deliver what is queued, then stop."""
        self._wake.set()

    async def parts(self) -> AsyncGenerator[bytes]:
        """Encoded parts, from the head on, for as long as the mount lives.

        Raises:
            MountClosedError: the mount was closed.
        """
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._parts:
                yield self._parts.popleft()
            if self.mount.closed is not None:
                raise self.mount.closed


class Mount:
    """One stream in one format, for all who fetch it; the hub's `Transport` of its own connection."""

    raw_socket: RawSocket | None = None

    def __init__(self, hub: Hub, spec: StreamSpec, format_: MountFormat, pool: ThreadPoolExecutor) -> None:
        self.listeners: set[MountListener] = set()
        self.recent: deque[bytes] = deque(maxlen=BURST_PARTS)
        self.closed: MountClosedError | None = None
        self.spec = spec
        self._hub = hub
        self._pool = pool
        self._encoder = MountEncoder(format_, title=spec.stream_id)
        self.head = self._encoder.head
        self._chunks: deque[memoryview] = deque()
        self._wake = asyncio.Event()
        self._wants_writable = False
        self.connection: Connection = hub.connect(format_=Format.PCM, events=True, address="", audience=0)
        self.connection.transport = self
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"mount {spec.stream_id}")
        start = {"type": "control", "action": "start", "params": spec.to_params()}
        hub.receive(self.connection, json.dumps(start))

    @property
    def title(self) -> str:
        """What is playing now, for people: "C dorian · Am9"."""
        stream = self._hub.ring_of(self.spec.stream_id)
        chord = None if stream is None else stream.chord_at(tick_at(self._hub.clock.now()))
        place = f"{self.spec.key} {self.spec.mode}"
        return f"{place} - {chord}" if chord else place

    def count_skip(self) -> None:
        """A listener was too slow."""
        self._hub.count_mount_skip()

    def add(self) -> MountListener:
        """A listener joins."""
        listener = MountListener(self)
        self.listeners.add(listener)
        self.connection.audience = len(self.listeners)
        return listener

    def remove(self, listener: MountListener) -> None:
        """A listener leaves."""
        self.listeners.discard(listener)
        self.connection.audience = len(self.listeners)

    async def stop(self) -> None:
        """Leave the stream and free the encoder; idempotent."""
        self._hub.disconnect(self.connection)
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    # What the hub needs of a connection.

    def send(self, payload: Payload) -> None:
        """Take a chunk; events say nothing that an HTTP listener could be told."""
        if payload.chunk_id >= 0 and self.closed is None:
            self._chunks.append(memoryview(payload.data)[FRAME_HEADER_BYTES:])
            self._wake.set()

    def send_all(self, payloads: Sequence[Payload]) -> None:
        """Take several."""
        for payload in payloads:
            self.send(payload)

    def backlog_bytes(self) -> int:
        """PCM that waits for the encoder."""
        return len(self._chunks) * CHUNK_BYTES

    def round_trip_s(self) -> float:
        """There is no socket to measure."""
        return 0.0

    def notify_when_writable(self) -> None:
        """Tell the hub when the encoder has caught up."""
        self._wants_writable = True

    def close(self, code: int, reason: str) -> None:
        """The hub ends the stream: listeners get what is encoded, and then the end."""
        if self.closed is None:
            self.closed = MountClosedError(code, reason)
            for listener in self.listeners:
                listener.end()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        job: asyncio.Future[bytes] | None = None
        try:
            while self.closed is None:
                await self._wake.wait()
                self._wake.clear()
                while self._chunks:
                    job = loop.run_in_executor(self._pool, self._encoder.encode, self._chunks.popleft())
                    part = await asyncio.shield(job)
                    if part:
                        self.recent.append(part)
                        for listener in self.listeners:
                            listener.push(part)
                if self._wants_writable:
                    self._wants_writable = False
                    self._hub.on_writable(self.connection)
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this mount and nothing else
            _log.warning("mount failed", stream=self.spec.stream_id, detail=repr(error))
            self.close(CloseCode.TRY_LATER, f"the encoder failed ({error}); try again")
        finally:
            # A thread may still be inside the codec that is to be freed.
            if job is not None:
                await asyncio.wait([job])
            self._encoder.close()


class Mounts:
    """All mounts of an edge."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._mounts: dict[tuple[str, MountFormat], Mount] = {}
        self._pool = ThreadPoolExecutor(ENCODER_THREADS, thread_name_prefix="mount")

    @contextlib.asynccontextmanager
    async def listen(self, spec: StreamSpec, format_: MountFormat) -> AsyncIterator[MountListener]:
        """A place at the mount of `spec`, which is opened if need be and closed after its last listener."""
        key = (spec.stream_id, format_)
        mount = self._mounts.get(key)
        if mount is None or mount.closed is not None:
            mount = self._mounts[key] = Mount(self._hub, spec, format_, self._pool)
        listener = mount.add()
        try:
            yield listener
        finally:
            mount.remove(listener)
            if not mount.listeners:
                if self._mounts.get(key) is mount:
                    del self._mounts[key]
                await mount.stop()

    async def stop(self) -> None:
        """Close every mount; idempotent."""
        for mount in list(self._mounts.values()):
            mount.close(CloseCode.RESTART, "the server stops")
            await mount.stop()
        self._mounts.clear()
        self._pool.shutdown(wait=False, cancel_futures=True)
