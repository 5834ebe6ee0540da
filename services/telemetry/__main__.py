"""`python -m services.telemetry` (shell): telemetry on METRICS_PORT."""

from __future__ import annotations

from services.runtime.lifecycle import Lifecycle, exit_quietly_on_signals, run_service


async def serve(lifecycle: Lifecycle) -> None:
    """Run until told to stop."""
    from services.runtime.observability.logging import configure_logging  # noqa: PLC0415 - signals are handled before the slow imports
    from services.runtime.settings import load_settings_or_exit  # noqa: PLC0415 - as above
    from services.telemetry.server import run_telemetry  # noqa: PLC0415 - as above

    settings = load_settings_or_exit()
    configure_logging(settings, service="telemetry")
    await run_telemetry(settings, lifecycle)


def main() -> None:
    """Run telemetry as a process of its own."""
    exit_quietly_on_signals()
    run_service(serve)


if __name__ == "__main__":
    main()
