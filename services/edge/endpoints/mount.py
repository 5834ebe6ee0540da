"""A mount (shell): one stream in one format for every HTTP listener that fetches it.

To the hub a mount is one listener of PCM. A thread encodes each of its chunks once, and every HTTP listener has a short
queue of encoded parts. A new listener first gets the parts of the last two seconds, so that its player starts
immediately.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from services.contract.spec import StreamSpec
from services.contract.timebase import CHUNK_BYTES
from services.contract.websocket import FRAME_HEADER_BYTES, CloseCode
from services.edge.codecs.mount_encoder import MountEncoder, MountFormat
from services.edge.endpoints.query import title_of
from services.edge.fanout.connection import Connection
from services.edge.fanout.hub import Hub
from services.edge.listener.payloads import Format, Payload
from services.edge.wire.transport import RawSocket
from services.runtime.observability.logging import get_logger

_log = get_logger(__name__)

BURST_PARTS: Final = 20
"""Encoded chunks that a new listener gets immediately: most players buffer one or two seconds before they start."""
QUEUE_PARTS: Final = 100
"""Encoded chunks that wait for a listener; overflow: it skips to the newest one ("skip_ahead") and is counted."""


class MountClosedError(Exception):
    """The stream cannot go on.

    Args:
        code: WebSocket close code for the reason.
        reason: for a person.
    """

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(f"{code}: {reason}")


class MountListener:
    """One HTTP listener's queue of encoded parts.

    Args:
        mount: what it fetches.

    Attributes:
        mount: as above.
        skips: how often its queue was full.
    """

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
        """Deliver what is queued, then stop, because the mount is closed."""
        self._wake.set()

    async def parts(self) -> AsyncGenerator[bytes]:
        """Encoded parts, from the head of the format on.

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
    """One encoded stream; the `Transport` of its own connection to the hub.

    Args:
        hub: sends it chunks.
        spec: the stream.
        format_: what it is encoded to.
        pool: threads that encode.

    Attributes:
        spec: as above.
        head: what a new listener must get first.
        recent: parts of the last two seconds.
        listeners: HTTP listeners that fetch it.
        closed: why it is closed; None while it is open.
        connection: of the hub.
    """

    raw_socket: RawSocket | None = None

    def __init__(self, hub: Hub, spec: StreamSpec, format_: MountFormat, pool: ThreadPoolExecutor) -> None:
        self.listeners: set[MountListener] = set()
        self.recent: deque[bytes] = deque(maxlen=BURST_PARTS)
        self.closed: MountClosedError | None = None
        self.spec = spec
        self._hub = hub
        self._pool = pool
        self._encoder = MountEncoder(format_, title=title_of(spec))
        self.head = self._encoder.head
        self._chunks: deque[memoryview] = deque()
        self._wake = asyncio.Event()
        self._notify_when_writable = False
        self.connection: Connection = hub.connect(format_=Format.PCM, events=True, address="", audience=0)
        self.connection.transport = self
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"mount {spec.stream_id}")
        start = {"type": "control", "action": "start", "params": spec.to_request()}
        hub.receive(self.connection, json.dumps(start))

    @property
    def title(self) -> str:
        """A title of the music that plays now: "Tranquil Pond - C dorian - Am9"."""
        ring = self._hub.ring_of(self.spec.stream_id)
        chord = None if ring is None else ring.chord_at(self._hub.live)
        words = [self.spec.title, f"{self.spec.key} {self.spec.mode}"]
        return " - ".join([*words, chord] if chord else words)

    def count_skip(self) -> None:
        """Count that a listener was too slow."""
        self._hub.count_mount_skip()

    def add_listener(self) -> MountListener:
        """A new listener."""
        listener = MountListener(self)
        self.listeners.add(listener)
        self.connection.audience = len(self.listeners)
        return listener

    def remove_listener(self, listener: MountListener) -> None:
        """Forget a listener that has left."""
        self.listeners.discard(listener)
        self.connection.audience = len(self.listeners)

    async def stop(self) -> None:
        """Leave the stream and free the encoder; idempotent."""
        self._hub.disconnect(self.connection)
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    # --- Transport ---------------------------------------------------------------------------------------------------

    def send(self, payload: Payload) -> None:
        """Take a chunk; events are dropped, because HTTP listeners have no use for them."""
        if payload.chunk_id >= 0 and self.closed is None:
            self._chunks.append(memoryview(payload.data)[FRAME_HEADER_BYTES:])
            self._wake.set()

    def send_all(self, payloads: Sequence[Payload]) -> None:
        """Take several chunks."""
        for payload in payloads:
            self.send(payload)

    def backlog_bytes(self) -> int:
        """Bytes of PCM that wait for the encoder."""
        return len(self._chunks) * CHUNK_BYTES

    def round_trip_s(self) -> float:
        """Always 0: a mount has no socket of its own."""
        return 0.0

    def notify_when_writable(self) -> None:
        """Tell the hub once, when the encoder has caught up."""
        self._notify_when_writable = True

    def close(self, code: int, reason: str) -> None:
        """Let listeners read what is encoded, then end their streams; idempotent."""
        if self.closed is None:
            self.closed = MountClosedError(code, reason)
            for listener in self.listeners:
                listener.end()

    # --- encoding ----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        job: asyncio.Future[bytes] | None = None
        try:
            while self.closed is None:
                await self._wake.wait()
                self._wake.clear()
                while self._chunks:
                    job = loop.run_in_executor(self._pool, self._encoder.encode, self._chunks.popleft())
                    # Shielded: a thread that has begun cannot be cancelled.
                    self._publish(await asyncio.shield(job))
                if self._notify_when_writable:
                    self._notify_when_writable = False
                    self._hub.on_writable(self.connection)
        except Exception as error:  # noqa: BLE001 - any error of a codec ends this mount and nothing else
            _log.warning("mount failed", stream=self.spec.stream_id, detail=repr(error))
            self.close(CloseCode.TRY_LATER, f"the encoder failed ({error}); try again")
        finally:
            # A thread may still use the codec that is freed next.
            if job is not None:
                await asyncio.wait([job])
            self._encoder.close()

    def _publish(self, part: bytes) -> None:
        if not part:
            return  # the codec looks ahead and has given nothing yet
        self.recent.append(part)
        for listener in self.listeners:
            listener.push(part)
