"""The recent blocks of a stream, read from AUDIO (shell: asyncio)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from services.contract import subjects
from services.runtime.bus.limits import BusLimits
from services.runtime.bus.nats.connection import Connection
from services.runtime.bus.nats.jetstream import JetStream
from services.runtime.bus.port import BusError, Message

CONCURRENT_READS: Final = 4
"""Each is up to 3.5 MB at once; a server cuts off a client to which it owes more than 64 MB."""


class AudioHistory:
    """Reads of AUDIO, a few at a time.

    Args:
        connection: whose log a failed read goes to.
        jetstream: where it is kept.
        limits: how many blocks of a stream are kept.
    """

    def __init__(self, connection: Connection, jetstream: JetStream, limits: BusLimits) -> None:
        self._connection = connection
        self._jetstream = jetstream
        self._limits = limits
        self._reads = asyncio.Semaphore(CONCURRENT_READS)

    async def read(self, subject: str, *, max_messages: int) -> Sequence[Message]:
        """The newest of what is kept of `subject`, oldest first; empty when nothing or when the bus is away."""
        if max_messages <= 0:
            return ()
        try:
            async with self._reads:
                if max_messages == 1:
                    kept = await self._jetstream.get(subjects.AUDIO_STREAM, {"last_by_subj": subject})
                else:
                    keeps = self._limits.audio_messages_per_subject
                    kept = await self._jetstream.get(
                        subjects.AUDIO_STREAM, {"batch": keeps, "next_by_subj": subject, "seq": 1}, count=keeps
                    )
        except BusError as error:
            self._connection.warn("history not read", str(error))
            return ()
        return [Message(subject, message.data) for message in kept[-max_messages:]]
