"""Pure: what is simulated, sizes, losses and outages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

OutageKind = Literal["workers", "bus"]

SETTLE_S: Final = 15.0
"""How long an outage has effects after its end. Five blocks of every stream are missing then, and workers render them
beside the new ones with their free capacity: 7.5 s at 60 % load, and as long again for workers that start late."""


@dataclass(frozen=True, slots=True)
class Outage:
    """A time without workers or without the bus.

    Attributes:
        kind: "workers": all workers die; "bus": the server dies, and its successor is empty.
        begin_s: when it begins, seconds after the start.
        length_s: how long it lasts, seconds.
    """

    kind: OutageKind
    begin_s: float
    length_s: float

    @classmethod
    def parse(cls, text: str) -> Outage:
        """Read `workers:30:20` (20 s without workers from second 30 on).

        Raises:
            ValueError: `text` does not have that form.
        """
        kind, *numbers = text.split(":")
        if kind not in ("workers", "bus") or len(numbers) != 2:
            raise ValueError(f"outage: got {text!r}, expected workers:BEGIN:LENGTH or bus:BEGIN:LENGTH in seconds")
        return cls("workers" if kind == "workers" else "bus", float(numbers[0]), float(numbers[1]))


@dataclass(frozen=True)
class Plan:
    """One simulation.

    Attributes:
        edges, streams, workers: their numbers, at least 1.
        streams_per_edge: streams that have listeners on each edge; popularity follows Zipf's law.
        seconds: simulated time.
        loss: share of asks, jobs, blocks and acknowledgements that never arrive, from 0 to below 1.
        late: share of blocks that are up to 2 s late, from 0 to below 1.
        load: share of the workers' capacity that is needed, above 0.
        deaths: share of workers that die in a minute; half are killed, half vanish from the network.
        churn: share of an edge's streams that change to another stream in a minute.
        outages: times without workers or bus.
        seed: of the random numbers.

    Raises:
        ValueError: a value is out of its range.
    """

    edges: int = 100
    streams: int = 50
    workers: int = 10
    streams_per_edge: int = 4
    seconds: float = 60.0
    loss: float = 0.01
    late: float = 0.001
    load: float = 0.6
    deaths: float = 0.1
    churn: float = 0.2
    outages: tuple[Outage, ...] = ()
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("edges", "streams", "workers", "streams_per_edge", "seconds", "load"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected more than 0")
        for name in ("loss", "late"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected a share from 0 to below 1")
        if self.streams_per_edge > self.streams:
            raise ValueError(f"streams_per_edge: got {self.streams_per_edge}, expected at most {self.streams} streams")

    def disturbed(self, second: float) -> bool:
        """Whether an outage may still have effects at `second` after the start."""
        return any(outage.begin_s <= second < outage.begin_s + outage.length_s + SETTLE_S for outage in self.outages)
