"""A render job: one block of one stream, asked of a synthesis worker by an edge. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final, Self

from services.contract.errors import FieldError
from services.contract.messages import read_versioned, take_int, take_text
from services.contract.spec import MAX_ID_CHARS, StreamSpec
from services.contract.timebase import CHUNKS_PER_BLOCK, MAX_TICK

VERSION: Final = 1
MAX_BYTES: Final = 512
WAIT_HEADER: Final = "Auralis-Wait-Ms"
"""Header of an ask on the bus: milliseconds that the edge can still wait for the block, by the edge's clock. It is no
field of the job, because earlier workers refuse jobs with fields that they do not know."""


@dataclass(frozen=True, slots=True)
class RenderJob:
    """A request to render one block.

    Attributes:
        spec: the stream.
        block: the block's number: seconds since the epoch, at which it is due.
        attempt: number of earlier asks for this block; 0 is the first ask.
    """

    spec: StreamSpec
    block: int
    attempt: int = 0

    def encode(self) -> bytes:
        """The job as JSON."""
        body = {"v": VERSION, "stream": self.spec.stream_id, "block": self.block, "attempt": self.attempt}
        return json.dumps(body, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a job.

        Raises:
            UnknownVersionError, MessageError, FieldError: see errors.py.
        """
        value = read_versioned("render job", data, version=VERSION, limit_bytes=MAX_BYTES)
        unknown = set(value) - {"v", "stream", "block", "attempt"}
        if unknown:
            raise FieldError(min(unknown), value[min(unknown)], "no such field in a render job")
        return cls(
            spec=StreamSpec.from_id(take_text(value, "stream", MAX_ID_CHARS)),
            block=take_int(value, "block", 0, MAX_TICK // CHUNKS_PER_BLOCK),
            attempt=take_int(value, "attempt", 0, 1_000_000),
        )
