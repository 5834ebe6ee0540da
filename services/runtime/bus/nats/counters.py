"""Counters that all connections share, in a key-value bucket (shell: asyncio)."""

from __future__ import annotations

import asyncio
import random
import re
from typing import Final

from services.runtime.bus.nats.jetstream import WRONG_LAST_SEQUENCE, JetStream
from services.runtime.bus.port import BusError

ATTEMPTS: Final = 20
"""Attempts of an addition, each after another connection had changed the counter meanwhile."""

_KEY = re.compile(r"[A-Za-z0-9_=/-]+(\.[A-Za-z0-9_=/-]+)*")


class Counters:
    """Shared counters, each forgotten some time after its last change.

    Args:
        jetstream: keeps them.
    """

    def __init__(self, jetstream: JetStream) -> None:
        self._jetstream = jetstream

    async def count(self, bucket: str, key: str, *, ttl_s: float) -> int:
        """Add one to a counter that is forgotten `ttl_s` after its last change; returns the new count.

        Raises:
            BusError: the bus is away.
            ValueError: `key` is not valid.
        """
        if not _KEY.fullmatch(key):
            raise ValueError(f"counter key: got {key!r}, expected letters, digits and '-_=/.'")
        await self._jetstream.ensure_bucket(bucket, ttl_s=ttl_s)
        for attempt in range(ATTEMPTS):
            value, sequence = await self._read(bucket, key)
            answer = await self._jetstream.put(
                f"KV_{bucket}",
                f"$KV.{bucket}.{key}",
                str(value + 1).encode(),
                {"Nats-Expected-Last-Subject-Sequence": str(sequence)},
            )
            error = answer.get("error")
            if error is None:
                return value + 1
            if error.get("err_code") != WRONG_LAST_SEQUENCE:
                raise BusError(f"counter {bucket}/{key}: {error.get('description')}")
            # Another connection has counted meanwhile: wait a moment and read again.
            await asyncio.sleep(random.uniform(0, 0.002) * (attempt + 1))  # noqa: S311 - spreads load, hides nothing
        raise BusError(f"counter {bucket}/{key}: changed by others {ATTEMPTS} times in a row; count again later")

    async def value(self, bucket: str, key: str) -> int:
        """A counter's value; 0 where there is none, and while the bus is away."""
        try:
            return (await self._read(bucket, key))[0]
        except BusError:
            return 0

    async def _read(self, bucket: str, key: str) -> tuple[int, int]:
        """Value and sequence of a counter; (0, 0) where there is none."""
        found = await self._jetstream.get(f"KV_{bucket}", {"last_by_subj": f"$KV.{bucket}.{key}"})
        if not found:
            return 0, 0
        headers = found[0].headers or {}
        try:
            return int(found[0].data or b"0"), int(headers.get("Nats-Sequence", "0"))
        except ValueError:
            raise BusError(f"counter {bucket}/{key}: got {found[0].data[:20]!r}, expected a number") from None
