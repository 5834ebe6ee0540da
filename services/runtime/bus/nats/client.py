"""nats-py's client, with a close that always ends (shell: asyncio, nats)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, override

from nats.aio.client import Client
from nats.aio.msg import Msg


class BusClient(Client):
    """One connection; never used again once it is lost."""

    @property
    def reader_ended(self) -> bool:
        """Whether the read loop has ended although nobody closed the connection."""
        return self._reading_task is not None and self._reading_task.done()

    @property
    def backlog_bytes(self) -> int:
        """What waits for the network: in the client and in the socket's transport.

        `pending_data_size` is the first part only, and on Python before 3.12.8 the transport's part has no bound
        (CVE-2024-12254: writelines() never asks anybody to wait).
        """
        writer = getattr(self._transport, "_io_writer", None)
        written = 0 if writer is None else int(writer.transport.get_write_buffer_size())
        return self.pending_data_size + written

    @override
    async def _close(self, status: int, do_cbs: bool = True) -> None:
        # On a broken connection the last flush raises, and everything after it (callbacks, subscriptions' tasks, the
        # socket) is left behind. We flush before we close, so there is nothing to lose.
        self._pending.clear()
        self._pending_data_size = 0
        await super()._close(status, do_cbs)

    async def abandon(self) -> None:
        """End whatever a close that did not come to its end has left: tasks and the socket."""
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
    """Flush where that is possible, and close; takes 3 s at most and never raises."""
    await uninterrupted(_flush_and_close(client))


async def uninterrupted(ending: Coroutine[Any, Any, None]) -> None:
    """Run to the end; whoever is cancelled meanwhile leaves after it.

    nats-py never ends a close that was cut short, since it counts as closed from its first line on.
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
        # nats-py waits without end for a transport whose TLS handshake failed.
        async with asyncio.timeout(1):
            await client.close()
    await client.abandon()


def status_of(message: Msg) -> str:
    """The status code of a message of the server's own; empty for anybody else's."""
    return str(message.headers.get("Status", "")) if message.headers and not message.data else ""
