"""The HTTP protocol of every port (shell), under the name by which `uvicorn --http` may be told to use it."""

from services.runtime.http.http_protocol import HttpProtocol

__all__ = ["HttpProtocol"]
