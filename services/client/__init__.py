"""An asyncio client for Auralis, for `auralis listen`, the load tests and the tests."""
