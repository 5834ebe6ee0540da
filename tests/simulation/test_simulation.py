from __future__ import annotations

import asyncio
from dataclasses import replace
from statistics import mean

import pytest
from click.testing import CliRunner

from services.simulation.__main__ import main
from services.simulation.fleet import Fleet
from services.simulation.network import at_once
from services.simulation.plan import Outage, Plan
from services.simulation.timeline import START_S, Timeline

SMALL = Plan(edges=40, streams=12, workers=6, streams_per_edge=2, seconds=45)


def test_no_tick_is_missing_although_messages_are_lost_and_workers_die() -> None:
    found = Fleet(SMALL).run()
    assert found.listened_ticks > 20_000
    assert found.counts["lost_blocks"] > 10
    assert found.silent == 0
    assert found.missing == 0
    assert found.jobs_per_block < 1.3
    assert found.renders_per_block < 1.4


def test_what_is_lost_is_asked_for_again_and_without_that_it_would_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.edge.stream.demand.REASK_S", 1000.0)
    assert Fleet(SMALL).run().missing > 1e-3


def test_what_is_missing_is_a_share_of_the_time_in_which_nothing_is_out() -> None:
    found = Fleet(replace(SMALL, loss=0.6)).run()
    # The last 20 of 45 s, in which everybody has joined.
    assert found.quiet_ticks == pytest.approx(SMALL.edges * SMALL.streams_per_edge * 20 * 10, rel=0.05)
    assert found.missing > 0.5


def test_those_who_stay_hear_next_to_nothing_of_those_who_change_their_stream_every_four_seconds() -> None:
    found = Fleet(Plan(edges=20, streams=400, workers=4, streams_per_edge=12, seconds=50, churn=15)).run()
    assert found.missing < 0.01


def test_an_outage_ends_without_a_storm_and_the_music_is_back_fifteen_seconds_later() -> None:
    for kind, length_s in (("workers", 12.0), ("bus", 6.0)):
        plan = Plan(
            edges=20, streams=12, workers=2, streams_per_edge=2, seconds=80, deaths=0,
            outages=(Outage.parse(f"{kind}:35:{length_s}"),),
        )  # fmt: skip
        found = Fleet(plan).run()
        assert found.disturbed > 0.01, kind
        assert found.missing == 0, kind
        assert found.silent == 0, kind
        # Every missing block, six at a time, once a second and edge; that is all that there can be.
        assert found.peak_asks_per_seat_s < 7, kind
        assert found.asks_after_outage is not None
        assert found.asks_after_outage < 1.5, kind


def test_the_same_seed_is_the_same_simulation() -> None:
    plan = Plan(edges=5, streams=3, workers=2, streams_per_edge=2, seconds=30)
    assert Fleet(plan).run() == Fleet(plan).run()


def test_many_edges_ask_hardly_more_often_than_few() -> None:
    # How long one worker's answers take depends on how its streams' asks fall together: of one seed it says nothing.
    few, many = (
        [
            Fleet(
                Plan(
                    edges=edges,
                    streams=12,
                    workers=1,
                    streams_per_edge=4,
                    seconds=35,
                    loss=0,
                    late=0,
                    deaths=0,
                    seed=seed,
                )
            ).run()
            for seed in range(1, 5)
        ]
        for edges in (8, 80)
    )
    # Ten times as many edges.
    assert mean(found.asks_per_block for found in many) < 3 * mean(found.asks_per_block for found in few)
    for found in many:
        assert found.asks_per_block < 10
        assert found.renders_per_block == pytest.approx(1.0, abs=0.1)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_ten_thousand_edges_miss_less_than_one_tick_in_a_million() -> None:
    found = Fleet(Plan(edges=10_000, streams=1_000, workers=200, streams_per_edge=2, seconds=45)).run()
    assert found.listened_ticks > 5_000_000
    assert found.missing < 1e-6
    assert found.silent == 0
    assert found.peak_asks_per_seat_s < 2


def test_the_command_fails_where_ticks_are_missing_and_says_what_it_found() -> None:
    wishes = ["--edges", "10", "--streams", "4", "--streams-per-edge", "2", "--workers", "2", "--seconds", "40"]
    good = CliRunner().invoke(main, [*wishes, "--loss", "0", "--deaths", "0", "--late", "0"])
    assert good.exit_code == 0, good.output
    assert "missing" in good.output
    bad = CliRunner().invoke(main, [*wishes, "--loss", "0.4"])
    assert bad.exit_code == 1, bad.output
    wrong = CliRunner().invoke(main, ["--outage", "cats:1:2"])
    assert wrong.exit_code == 2
    assert "cats" in wrong.output


@pytest.mark.parametrize(("field", "value"), [("edges", 0), ("loss", 1.0), ("late", -0.1), ("streams_per_edge", 60)])
def test_a_plan_that_cannot_be_is_refused_with_its_value(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{field}: got {value}"):
        Plan(**{field: value})  # type: ignore[arg-type]


def test_things_happen_in_the_order_of_their_times_and_then_of_their_asking() -> None:
    time, seen = Timeline(), []
    for name, delay_s in (("c", 2.0), ("a", 1.0), ("b", 1.0), ("never", 9.0)):
        time.after(delay_s, seen.append, name)
    time.run_until(START_S + 5)
    assert seen == ["a", "b", "c"]
    assert time.now() == START_S + 5


def test_a_call_that_waits_is_found_out() -> None:
    async def quick() -> int:
        return 7

    assert at_once(quick()) == 7

    async def slow() -> None:
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="waits"):
        at_once(slow())
