"""A bucket with nonsense in it, and keys that are none."""

from __future__ import annotations

import pytest
from nats.aio.client import Client

from services.runtime.bus import BusError
from tests.runtime.bus.nats.conftest import Fleet
from tests.support.nats import NatsServer


async def test_a_counter_that_is_no_number_is_an_error_and_reads_as_zero(
    nats_server: NatsServer, fleet: Fleet, admin: Client
) -> None:
    bus = fleet.bus(nats_server.url)
    await bus.connect()
    await bus.count_failure("b", "k", ttl_s=60)
    await admin.request("$KV.b.k", b"nonsense")
    assert await bus.failures("b", "k") == 0
    with pytest.raises(BusError, match="expected a number"):
        await bus.count_failure("b", "k", ttl_s=60)


async def test_a_key_that_would_be_another_subject_is_refused(nats_server: NatsServer, fleet: Fleet) -> None:
    bus = fleet.bus(nats_server.url)
    await bus.connect()
    for key in ("", "a b", "a.*", ">", "a..b", ".a"):
        with pytest.raises(ValueError, match="counter key"):
            await bus.count_failure("b", key, ttl_s=60)
