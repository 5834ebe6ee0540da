"""The bus as the services see it: one port, two adapters (nats for real, memory for tests).

One test suite runs over both.
"""

from services.runtime.bus.port import Bus, BusError, BusFullError, Job, JobSource, Message, Subscription

__all__ = ["Bus", "BusError", "BusFullError", "Job", "JobSource", "Message", "Subscription"]
