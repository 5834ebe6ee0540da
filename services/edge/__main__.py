"""`python -m services.edge` (shell): one edge on AURALIS_HOST and AURALIS_PORT."""

from __future__ import annotations

from services.runtime.lifecycle import Lifecycle, exit_quietly_on_signals, run_service


async def serve(lifecycle: Lifecycle) -> None:
    """Run until told to stop."""
    from services.edge.server import run_edge  # noqa: PLC0415 - signals are handled before the slow imports
    from services.runtime.observability.logging import configure_logging  # noqa: PLC0415 - as above
    from services.runtime.settings import load_settings_or_exit  # noqa: PLC0415 - as above

    settings = load_settings_or_exit()
    configure_logging(settings, service="edge")
    await run_edge(settings, lifecycle)


def main() -> None:
    """Run the edge as a process of its own."""
    exit_quietly_on_signals()
    run_service(serve)


if __name__ == "__main__":
    main()
