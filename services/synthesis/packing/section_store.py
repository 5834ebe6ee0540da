"""Pure, but for what it keeps. Prepared sections of the streams in use."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Final

from services.contract.spec import StreamSpec
from services.contract.timebase import BLOCKS_PER_SECTION
from services.synthesis.idle_streams import IdleSweep
from services.synthesis.instruments.bank import Bank
from services.synthesis.packing.placement import Placement, place_block
from services.synthesis.packing.section import PreparedSection, prepare_section
from services.synthesis.score.events import Section

Compose = Callable[[StreamSpec, int], Section]
"""The section of a stream by its number since the epoch."""

_PREPARE_FROM_S: Final = 20
_PREPARE_WITHIN_S: Final = 200
"""Each stream prepares its next section at its own second of a section: from 20 to 219."""


class SectionStore:
    """Prepared sections of the streams in use. Threads may share it.

    Args:
        compose: the score.
        bank: the measured instruments.
        max_sections: how many prepared sections are kept at most (130 KB each); the least recently used goes first.
    """

    def __init__(self, compose: Compose, bank: Bank, *, max_sections: int = 1024) -> None:
        self._compose = compose
        self._bank = bank
        self._max_sections = max_sections
        self._prepared: OrderedDict[tuple[str, int], PreparedSection] = OrderedDict()
        self._latest: dict[str, int] = {}
        self._sweep = IdleSweep()
        self._lock = Lock()

    def __len__(self) -> int:
        """How many prepared sections are kept."""
        return len(self._prepared)

    def section(self, spec: StreamSpec, number: int) -> PreparedSection:
        """The prepared section `number` of `spec`.

        Raises:
            Whatever the score raises for it.
        """
        return self._section(spec, spec.stream_id, number)

    def place(self, spec: StreamSpec, block: int) -> Placement:
        """What sounds in `block`: notes of its own section, and those of the section before that still ring.

        Raises:
            Whatever the score raises for it.
        """
        number, second = divmod(block, BLOCKS_PER_SECTION)
        stream = spec.stream_id
        sections = [(self._section(spec, stream, number), second)]
        if number:
            sections.insert(0, (self._section(spec, stream, number - 1), second + BLOCKS_PER_SECTION))
        return place_block(spec, stream, block, sections)

    def look_ahead(self, spec: StreamSpec, block: int) -> None:
        """Prepare the next section if the stream's second for it has come.

        All streams change section in the same second. Each one prepares at another second of the section before, so
        that the change costs nothing.
        """
        number, second = divmod(block, BLOCKS_PER_SECTION)
        stream = spec.stream_id
        moment = _PREPARE_FROM_S + _stream_number(stream) % _PREPARE_WITHIN_S
        if second >= moment and (stream, number + 1) not in self._prepared:
            self._section(spec, stream, number + 1)

    def forget(self, rendered: Mapping[str, int]) -> None:
        """Drop what no later block needs, so that memory follows the streams in use.

        Each steered intensity is a stream of its own: without this a day of steering would fill the whole store.

        Args:
            rendered: the latest block of each stream that has just been rendered.
        """
        if not rendered:
            return
        with self._lock:
            self._latest.update(rendered)
            horizon = self._sweep.horizon(max(rendered.values()))
            if horizon is None:
                return
            self._latest = {stream: block for stream, block in self._latest.items() if block >= horizon}
            for stream, number in list(self._prepared):
                latest = self._latest.get(stream)
                # The section before still rings in this one.
                if latest is None or number < latest // BLOCKS_PER_SECTION - 1:
                    del self._prepared[stream, number]

    def _section(self, spec: StreamSpec, stream: str, number: int) -> PreparedSection:
        key = (stream, number)
        with self._lock:
            prepared = self._prepared.get(key)
            if prepared is not None:
                self._prepared.move_to_end(key)
                return prepared
        prepared = prepare_section(self._compose(spec, number), spec, self._bank)
        with self._lock:
            self._prepared[key] = prepared
            while len(self._prepared) > self._max_sections:
                self._prepared.popitem(last=False)
        return prepared


def _stream_number(stream: str) -> int:
    return int.from_bytes(hashlib.sha256(stream.encode()).digest()[:4], "little")
