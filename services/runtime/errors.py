"""Pure: the error that ends a service with one sentence."""

from __future__ import annotations

from typing import Final

EXIT_FAILED: Final = 1


class ServiceError(Exception):
    """The service cannot go on; its message is the whole story, so no traceback is shown.

    Attributes:
        exit_code: of the process.
    """

    def __init__(self, message: str, *, exit_code: int = EXIT_FAILED) -> None:
        self.exit_code = exit_code
        super().__init__(message)
