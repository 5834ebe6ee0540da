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
"""Each brings up to 3.5 MB; a server disconnects a client for which more than 64 MB wait."""


class AudioHistory:
    """Reads of AUDIO, a few at a time.

    Args:
        connection: logs failed reads.
        jetstream: keeps AUDIO.
        limits: number of blocks that are kept of each stream.
    """

    def __init__(self, connection: Connection, jetstream: JetStream, limits: BusLimits) -> None:
        self._connection = connection
        self._jetstream = jetstream
        self._limits = limits
        self._reads = asyncio.Semaphore(CONCURRENT_READS)

    async def read(self, subject: str, *, max_messages: int) -> Sequence[Message]:
        """The newest messages that are kept of `subject`, oldest first; none while the bus is away."""
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
