from __future__ import annotations

from services.contract.timebase import tick_at
from services.edge.fanout.crowd import SINGLES_AT_LEAST_S
from tests.edge.fanout.world import settle, world
from tests.edge.support import NOW_S


async def test_listeners_of_one_stream_get_the_very_same_payload() -> None:
    async with world() as edge:
        await edge.announce()
        transports = [edge.listen()[1] for _ in range(5)]
        await settle()
        await edge.render(0, 1, 2)
        await edge.tick(3)
        assert len({id(transport.payloads[-1]) for transport in transports}) == 1
        assert len(transports[0].chunks) == 13


async def test_a_stalled_connection_is_sent_nothing_and_goes_on_when_it_is_writable() -> None:
    async with world() as edge:
        await edge.announce()
        connection, transport = edge.listen()
        await settle()
        await edge.render(0, 1, 2, 3, 4)
        await edge.tick(2)
        await transport.stall(300_000)
        await edge.tick(3)
        assert len(transport.chunks) == 12
        assert transport.wants_writable
        transport.backlog = 1000
        edge.hub.on_writable(connection)
        assert len(transport.chunks) == 15


async def test_a_token_is_renewed_for_a_listener_that_stays_in_its_cohort() -> None:
    async with world() as edge:
        await edge.announce()
        connection, transport = edge.listen(events=True)
        await settle()
        for _ in range(39):
            await edge.render(0, 1, 2, 3, 4)
            await edge.tick(10)
        first, renewed = transport.events("hello")
        assert renewed["resume"] != first["resume"]
        assert renewed["chunk_id"] in transport.chunks
        assert edge.in_cohort(connection)
        assert transport.chunks == list(range(transport.chunks[0], transport.chunks[-1] + 1))


async def test_listeners_that_a_full_slot_leaves_out_come_first_at_the_next_tick() -> None:
    async with world() as edge:
        await edge.announce()
        connections, transports = zip(*(edge.listen() for _ in range(4)), strict=True)
        await settle()
        await edge.render(0, 1, 2, 3, 4)
        await edge.tick()
        live = tick_at(edge.clock.now_s)
        before = [len(transport.chunks) for transport in transports]
        for connection, transport in zip(connections, transports, strict=True):
            # Writing takes time, as it does for thousands.
            connection.send_all = lambda payloads, transport=transport: (
                transport.payloads.extend(payloads),
                edge.clock.forward(4 * SINGLES_AT_LEAST_S),
            )
            edge.hub.crowd.isolate(connection)
        got = []
        for step in (1, 2, 3, 4):
            edge.clock.now_s = (live + step) / 10 + 0.0001
            edge.hub.ticker.begin(live + step)
            edge.hub.crowd.send_slot(0, live + step, edge.clock.now_s, edge.clock.now_s + 0.01)
            got.append([len(transport.chunks) - count for transport, count in zip(transports, before, strict=True)])
        # One finds back to its cohort at each tick; in the end none lacks a chunk.
        assert got == [[1, 0, 0, 0], [2, 2, 0, 0], [3, 3, 3, 0], [4, 4, 4, 4]]


async def test_a_backlog_raises_the_tier() -> None:
    async with world() as edge:
        await edge.announce()
        connection, transport = edge.listen()
        await settle()
        for _ in range(8):
            await edge.render(0, 1, 2, 3, 4)
            await transport.stall(300_000 if edge.clock.now() - NOW_S > 3 else 0)
            await edge.tick(10)
        assert connection.listener.tiers.tier in ("stable", "defensive")


async def test_a_cohort_that_waits_for_a_late_block_gets_it_without_waiting_for_a_tick() -> None:
    async with world() as edge:
        await edge.announce()
        connection, transport = edge.listen()
        await settle()
        await edge.render(0, 1)
        await edge.tick(12)
        assert edge.in_cohort(connection)
        last = transport.chunks[-1]
        # The last chunk before the hole is held back.
        assert last == int(NOW_S) * 10 + 18
        await edge.render(1)
        assert edge.in_cohort(connection)
        assert transport.chunks == list(range(transport.chunks[0], last + 4))
