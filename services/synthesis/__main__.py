"""`python -m services.synthesis` (shell): one synthesis worker."""

from __future__ import annotations

from services.runtime.lifecycle import Lifecycle, exit_quietly_on_signals, run_service


async def serve(lifecycle: Lifecycle) -> None:
    """Run until told to stop."""
    from services.runtime.observability.logging import configure_logging  # noqa: PLC0415 - signals are handled before slow imports
    from services.runtime.settings import load_settings_or_exit  # noqa: PLC0415 - as above
    from services.synthesis.service import run_synthesis  # noqa: PLC0415 - as above

    settings = load_settings_or_exit()
    configure_logging(settings, service="synthesis")
    await run_synthesis(settings, lifecycle)


def main() -> None:
    """Run a worker as a process of its own."""
    exit_quietly_on_signals()
    run_service(serve)


if __name__ == "__main__":
    main()
