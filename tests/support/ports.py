"""Ports for the servers of the tests."""

from __future__ import annotations

import itertools
import os
import socket

_FIRST, _PER_PROCESS, _PROCESSES = 10_000, 1_000, 20
"""Below the ports that Linux gives to outgoing connections (32768 and up): none of those takes one that we chose."""

_worker = os.environ.get("PYTEST_XDIST_WORKER", "")
# Runs beside each other begin in different places, workers of one run in rooms of their own.
_room = (int(_worker.removeprefix("gw")) if _worker else os.getpid()) % _PROCESSES
_next = itertools.count(os.getppid() * 37)


def free_port() -> int:
    """A TCP port that nobody on this machine holds, and that this process has not been given lately."""
    for _ in range(_PER_PROCESS):
        port = _FIRST + _room * _PER_PROCESS + next(_next) % _PER_PROCESS
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"none of the {_PER_PROCESS} ports from {_FIRST + _room * _PER_PROCESS} is free")
