"""`python -m services.telemetry` (shell): telemetry on METRICS_PORT."""

from __future__ import annotations

from services.runtime.process.lifecycle import Lifecycle, run_service
from services.runtime.settings import Settings


async def serve(settings: Settings, lifecycle: Lifecycle) -> None:
    """Run until told to stop."""
    from services.telemetry.server import run_telemetry  # noqa: PLC0415 - a slow import, and signals are handled from here on

    await run_telemetry(settings, lifecycle)


def main() -> None:
    """Run telemetry as a process of its own."""
    run_service("telemetry", serve)


if __name__ == "__main__":
    main()
