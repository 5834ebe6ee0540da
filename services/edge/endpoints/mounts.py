"""The mounts of an edge (shell): opened for their first listener, closed after their last."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from services.contract.spec import StreamSpec
from services.contract.websocket import CloseCode
from services.edge.codecs.mount_encoder import MountFormat
from services.edge.endpoints.mount import Mount, MountListener
from services.edge.fanout.hub import Hub

ENCODER_THREADS: Final = 2
"""Threads that encode for all mounts of an edge."""


class Mounts:
    """A registry of mounts by stream and format.

    Args:
        hub: sends each mount its chunks.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._mounts: dict[tuple[str, MountFormat], Mount] = {}
        self._pool = ThreadPoolExecutor(ENCODER_THREADS, thread_name_prefix="mount")

    @contextlib.asynccontextmanager
    async def listen(self, spec: StreamSpec, format_: MountFormat) -> AsyncIterator[MountListener]:
        """A new listener of the mount of `spec`, which is opened if there is none."""
        key = (spec.stream_id, format_)
        mount = self._mounts.get(key)
        if mount is None or mount.closed is not None:
            mount = self._mounts[key] = Mount(self._hub, spec, format_, self._pool)
        listener = mount.add_listener()
        try:
            yield listener
        finally:
            mount.remove_listener(listener)
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
