"""nats-py's client, with a close that always ends (shell: asyncio, nats)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, override

from nats.aio.client import Client
from nats.aio.msg import Msg


class BusClient(Client):
    """One connection; a lost one is never used again."""

    @property
    def reader_ended(self) -> bool:
        """Whether the read loop has ended although the connection was not closed."""
        return self._reading_task is not None and self._reading_task.done()

    @property
    def backlog_bytes(self) -> int:
        """Bytes that wait for the network, in the client and in the socket's transport.

        `pending_data_size` counts the client's part only, and before Python 3.12.8 the transport's part has no bound
        (CVE-2024-12254: writelines() never pauses the writer).
        """
        writer = getattr(self._transport, "_io_writer", None)
        written = 0 if writer is None else int(writer.transport.get_write_buffer_size())
        return self.pending_data_size + written

    @override
    async def _close(self, status: int, do_cbs: bool = True) -> None:
        # On a broken connection the last flush raises, and the rest (callbacks, subscriptions' tasks, the socket) is
        # left behind. The bus flushes before it closes, so nothing is lost here.
        self._pending.clear()
        self._pending_data_size = 0
        await super()._close(status, do_cbs)

    async def answered(self, timeout_s: float) -> None:
        """Return when the server has handled everything sent before.

        nats-py's flush() does not do that: its ping overtakes messages that wait in the client. And if a flush gives
        up, the late pong ends the read loop.

        Raises:
            TimeoutError: no answer.
        """
        pong: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(timeout_s):
            await self._flush_pending(force_flush=True)
            await self._send_ping(pong)
            await asyncio.shield(pong)

    async def abandon(self) -> None:
        """End the tasks and the socket that an incomplete close has left."""
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()
        tasks = {self._reading_task, self._flusher_task, self._ping_interval_task}
        tasks |= {subscription._wait_for_msgs_task for subscription in self._subs.values()}  # noqa: SLF001 - no other way
        left = {task for task in tasks if task is not None and not task.done() and task is not asyncio.current_task()}
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=1)


async def close_client(client: BusClient) -> None:
    """Flush if possible, and close; takes at most 3 s and never raises."""
    await uninterrupted(_flush_and_close(client))


async def uninterrupted(ending: Coroutine[Any, Any, None]) -> None:
    """Run to the end; a cancellation meanwhile takes effect after it.

    nats-py cannot complete a close that was cancelled: the client counts as closed from its first line on.
    """
    task = asyncio.create_task(ending, name="bus closing")
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


async def _flush_and_close(client: BusClient) -> None:
    with contextlib.suppress(Exception):
        if client.is_connected:
            await client.flush(timeout=1)
    with contextlib.suppress(Exception):
        # nats-py waits for ever for a transport whose TLS handshake failed.
        async with asyncio.timeout(1):
            await client.close()
    await client.abandon()


def status_of(message: Msg) -> str:
    """The status code of a message from the server itself; empty for other messages."""
    return str(message.headers.get("Status", "")) if message.headers and not message.data else ""
