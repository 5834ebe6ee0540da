"""`python -m services.edge` (shell): one edge on AURALIS_HOST and AURALIS_PORT."""

from __future__ import annotations

from services.runtime.process.lifecycle import Lifecycle, run_service
from services.runtime.settings import Settings


async def serve(settings: Settings, lifecycle: Lifecycle) -> None:
    """Run the edge until `lifecycle` stops it."""
    from services.edge.server import run_edge  # noqa: PLC0415 - a slow import, and signals are handled from here on

    await run_edge(settings, lifecycle)


def main() -> None:
    """Run the edge as a process of its own."""
    run_service("edge", serve)


if __name__ == "__main__":
    main()
