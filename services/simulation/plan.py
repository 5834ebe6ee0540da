"""What is simulated: sizes, losses, outages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

OutageKind = Literal["workers", "bus"]

SETTLE_S: Final = 15.0
"""After an outage has ended: five blocks of every stream are missing, and are rendered with what is left of the
capacity beside the new ones: 7.5 s at 60 % load, and as long again for workers that are slow to come back."""


@dataclass(frozen=True, slots=True)
class Outage:
    """Something is gone for a while.

    Attributes:
        kind: "workers": all of them at once; "bus": the server, which comes back empty.
        begin_s: seconds after the start.
        length_s: how long.
    """

    kind: OutageKind
    begin_s: float
    length_s: float

    @classmethod
    def parse(cls, text: str) -> Outage:
        """Read `workers:30:20` (20 s without workers from second 30 on).

        Raises:
            ValueError: it is not of that form.
        """
        kind, *numbers = text.split(":")
        if kind not in ("workers", "bus") or len(numbers) != 2:
            raise ValueError(f"outage: got {text!r}, expected workers:BEGIN:LENGTH or bus:BEGIN:LENGTH in seconds")
        return cls("workers" if kind == "workers" else "bus", float(numbers[0]), float(numbers[1]))


@dataclass(frozen=True)
class Plan:
    """One simulation.

    Attributes:
        edges, streams, workers: how many.
        streams_per_edge: that each edge has listeners of; popular streams are on most edges (Zipf).
        seconds: that are simulated.
        loss: share of messages that never arrive, of every kind: asks, jobs, blocks, acknowledgements.
        late: share of blocks that are up to 2 s late.
        load: share of the workers' capacity that is needed.
        deaths: share of workers that die in a minute; half are killed, half vanish from the network.
        churn: share of streams that an edge leaves for another one in a minute.
        outages: what is gone when.
        seed: of all chance.
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
        """Whether an outage explains what is heard at `second`."""
        return any(outage.begin_s <= second < outage.begin_s + outage.length_s + SETTLE_S for outage in self.outages)
