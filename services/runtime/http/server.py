"""An HTTP server in the service's own loop, on a port that is bound first (shell: asyncio, uvicorn)."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Generator, Mapping
from functools import partial
from typing import Any, Final, override

import uvicorn

from services.runtime.http.guard import PortGuard
from services.runtime.http.http_protocol import HttpProtocol

ACCEPTED_AT_ONCE: Final = 16
"""Connections that are accepted in each turn of the loop."""
SERVER_OPTIONS: Final[Mapping[str, Any]] = {
    "http": HttpProtocol,
    # A port without WebSockets treats a request for one as any other request.
    "ws": "none",
    "log_config": None,
    "access_log": False,
    "server_header": False,
    "loop": "none",
}
"""Options of uvicorn for every port, unless its service has others."""


class PortInUseError(OSError):
    """A port is not available; the message says which and what to do.

    Attributes:
        host, port: the address.
    """

    def __init__(self, host: str, port: int, message: str) -> None:
        self.host = host
        self.port = port
        super().__init__(message)

    @override
    def __str__(self) -> str:
        return str(self.args[0])


def bind_socket(host: str, port: int, *, setting: str = "port") -> socket.socket:
    """A TCP socket bound to `host` and `port` (0: a free one).

    Args:
        setting: the environment variable that names the port, for the error.

    Raises:
        PortInUseError: the port is taken, forbidden, or the host is not an address of this machine.
    """
    try:
        candidates = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )
    except socket.gaierror as error:
        raise PortInUseError(
            host, port, f"cannot listen on {host!r}: {error.strerror}; name an address of this machine"
        ) from error
    family, kind, protocol, _, address = candidates[0]
    bound = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            # Without it a restart waits for the TIME_WAIT of old connections.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        # Listening here, so that of two processes that race for a port one fails now and not after "ready".
        bound.listen(2048)
        bound.setblocking(False)  # noqa: FBT003 - the standard library's signature
    except OSError as error:
        bound.close()
        reasons = {
            errno.EADDRINUSE: f"port {port} on {host} is in use; stop the program that has it or set {setting}",
            errno.EACCES: f"port {port} may not be opened by this user; set {setting} to one above 1023",
            errno.EADDRNOTAVAIL: f"{host} is not an address of this machine; listen on 127.0.0.1 or 0.0.0.0",
        }
        message = reasons.get(error.errno or 0, f"cannot listen on {host} port {port}: {error.strerror}")
        raise PortInUseError(host, port, message) from error
    return bound


class EmbeddedServer:
    """Uvicorn in the running loop, on a bound socket.

    Args:
        app: an ASGI application.
        bound: from `bind_socket`; the server closes it.
        guard: bounds the port's pending connections; None: one with the default limits, which counts nothing.
        options: for `uvicorn.Config`, in place of `SERVER_OPTIONS`.
    """

    def __init__(self, app: Any, bound: socket.socket, *, guard: PortGuard | None = None, **options: Any) -> None:
        self._socket = bound
        self.port: int = bound.getsockname()[1]
        options = {**SERVER_OPTIONS, **options}
        if isinstance(options["http"], type) and issubclass(options["http"], HttpProtocol):
            options["http"] = partial(options["http"], guard=PortGuard() if guard is None else guard)
        config = uvicorn.Config(app, **options)
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return when requests are answered.

        Raises:
            RuntimeError: the application did not start.
        """
        # The loop accepts one connection of a socket in each turn. After a restart a crowd would connect at the pace of
        # the turns, which are long because of the listeners that are connected already.
        listening = [self._socket, *(self._socket.dup() for _ in range(ACCEPTED_AT_ONCE - 1))]
        self._task = asyncio.create_task(self._server.serve(sockets=listening), name=f"http-{self.port}")
        started = asyncio.create_task(self._server.answering.wait())
        await asyncio.wait({self._task, started}, return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        if self._task.done():
            for each in listening:
                each.close()
            error = self._task.exception() if not self._task.cancelled() else None
            raise RuntimeError(f"the HTTP server on port {self.port} ended while starting") from error

    async def stop(self, *, grace_s: float = 2.0) -> None:
        """Refuse new connections, give requests `grace_s` seconds, close; idempotent."""
        task = self._task
        if task is None:
            self._socket.close()
            return
        self._server.config.timeout_graceful_shutdown = max(1, round(grace_s))
        self._server.should_exit = True
        with contextlib.suppress(asyncio.CancelledError, SystemExit):
            await asyncio.shield(task)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.answering = asyncio.Event()

    @contextlib.contextmanager
    @override
    def capture_signals(self) -> Generator[None]:
        # The lifecycle handles signals: the listeners must be drained before the server ends.
        yield

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except SystemExit as error:
            # Uvicorn ends the process if the application's lifespan fails; here the service decides that.
            raise RuntimeError("the application's startup failed; its log says why") from error
        self.answering.set()
