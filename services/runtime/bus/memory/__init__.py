"""The bus inside one process, for tests and tools; the same test suite holds it and NATS."""

from services.runtime.bus.memory.broker import MemoryBroker
from services.runtime.bus.memory.bus import MemoryBus

__all__ = ["MemoryBroker", "MemoryBus"]
