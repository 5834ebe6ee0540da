"""The message bus: one port with two adapters, NATS and memory (for tests).

The same test suite runs on both.
"""

from services.runtime.bus.port import Bus, BusError, BusFullError, Job, JobSource, Message, Subscription

__all__ = ["Bus", "BusError", "BusFullError", "Job", "JobSource", "Message", "Subscription"]
