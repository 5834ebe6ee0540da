"""`python -m services.simulation` (shell): runs a simulation and prints its figures."""

from __future__ import annotations

import gc
import json
import sys
import time
from dataclasses import asdict
from typing import Final

import click

from services.simulation.fleet import Fleet
from services.simulation.plan import Outage, Plan
from services.simulation.result import Result

MISSING_LIMIT: Final = 1e-6
"""Share of missing ticks from which the command fails."""


def _outages(_context: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]) -> tuple[Outage, ...]:
    try:
        return tuple(Outage.parse(text) for text in texts)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command(context_settings={"show_default": True, "max_content_width": 110})
@click.option("--edges", default=Plan.edges, help="Edges.")
@click.option("--streams", default=Plan.streams, help="Different streams.")
@click.option("--workers", default=Plan.workers, help="Synthesis workers.")
@click.option("--streams-per-edge", default=Plan.streams_per_edge, help="Streams with listeners on each edge.")
@click.option("--seconds", default=Plan.seconds, help="Simulated time.")
@click.option("--loss", default=Plan.loss, help="Share of messages that never arrive.")
@click.option("--late", default=Plan.late, help="Share of blocks that are up to 2 s late.")
@click.option("--load", default=Plan.load, help="Share of the workers' capacity that is needed.")
@click.option("--deaths", default=Plan.deaths, help="Share of the workers that die in a minute.")
@click.option("--churn", default=Plan.churn, help="Share of an edge's streams that change in a minute.")
@click.option("--outage", "outages", multiple=True, callback=_outages, help="workers:BEGIN:LENGTH or bus:BEGIN:LENGTH.")
@click.option("--seed", default=Plan.seed, help="Seed of the random numbers.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON instead of a table.")
def main(*, as_json: bool, **options: object) -> None:
    """Simulate edges, workers and the bus; fails if more than one tick in a million is missing."""
    try:
        plan = Plan(**options)  # type: ignore[arg-type]  # click has checked them
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    began_s = time.monotonic()

    def progress(second: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r{second:4d} of {plan.seconds:.0f} s", err=True, nl=False)

    # Millions of small objects live long and form no cycles; collecting them would take half of the time.
    gc.disable()
    found = Fleet(plan, progress).run()
    if sys.stderr.isatty():
        click.echo("\r\033[K", err=True, nl=False)
    click.echo(json.dumps(asdict(found)) if as_json else table(found, time.monotonic() - began_s))
    raise SystemExit(0 if found.missing < MISSING_LIMIT and found.silent == 0 else 1)


def table(found: Result, took_s: float) -> str:
    """The figures as a table."""
    after = "" if found.asks_after_outage is None else f"{found.asks_after_outage:.2f} times as many as before"
    rows = [
        ("listened to", f"{found.listened_ticks:,} ticks of 100 ms on all edges together"),
        ("counted", f"{found.quiet_ticks:,} of them: after all listeners have joined, and without outage"),
        ("missing", f"{found.missing:.2e} of those: a loop played without an outage"),
        ("missing at a beginning", f"{found.beginning:.2e}: within 5 s, before blocks have a lead"),
        ("silent", f"{found.silent:.2e}"),
        ("loops in outages, joining", f"{found.disturbed:.2e}"),
        ("asks for a block", f"{found.asks_per_block:.2f} sent, {found.jobs_per_block:.3f} accepted by the queue"),
        ("renders of a block", f"{found.renders_per_block:.3f}"),
        (
            "asks of an edge",
            f"{found.asks_per_seat_s:.3f} a second and stream, {found.peak_asks_per_seat_s:.3f} at most",
        ),
        ("asks after outages", after),
        (
            "blocks arrive",
            f"{found.margin_median_s:.2f} s before they are due (median; 0.1 % quantile {found.margin_p001_s:.2f})",
        ),
        ("first sound", f"{found.first_sound_median_s:.2f} s (median; p99 {found.first_sound_p99_s:.2f})"),
        ("longest queue", f"{found.most_waiting} jobs"),
        *((name.replace("_", " "), f"{count:,}") for name, count in found.counts.items()),
        ("simulated in", f"{took_s:.1f} s"),
    ]
    return "\n".join(f"{name:28s} {value}" for name, value in rows if value)


if __name__ == "__main__":
    main()
