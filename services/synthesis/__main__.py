"""`python -m services.synthesis` (shell): one synthesis worker."""

from __future__ import annotations

from services.runtime.process.lifecycle import Lifecycle, run_service
from services.runtime.settings import Settings


async def serve(settings: Settings, lifecycle: Lifecycle) -> None:
    """Run until told to stop."""
    from services.synthesis.service import run_synthesis  # noqa: PLC0415 - a slow import, and signals are handled from here on

    await run_synthesis(settings, lifecycle)


def main() -> None:
    """Run a worker as a process of its own."""
    run_service("synthesis", serve)


if __name__ == "__main__":
    main()
