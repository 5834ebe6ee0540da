"""Ports for the servers of the tests."""

from __future__ import annotations

import itertools
import os
import socket

_FIRST, _PER_PROCESS, _PROCESSES = 10_000, 1_000, 20
"""Below the ports of outgoing connections on Linux (32768 and up), which therefore never take a chosen port."""

_worker = os.environ.get("PYTEST_XDIST_WORKER", "")
# Parallel runs begin at different places; each worker of one run has a range of its own.
_range_index = (int(_worker.removeprefix("gw")) if _worker else os.getpid()) % _PROCESSES
_next = itertools.count(os.getppid() * 37)


def free_port() -> int:
    """A TCP port that is free on this machine and that this process has not been given lately."""
    for _ in range(_PER_PROCESS):
        port = _FIRST + _range_index * _PER_PROCESS + next(_next) % _PER_PROCESS
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"none of the {_PER_PROCESS} ports from {_FIRST + _range_index * _PER_PROCESS} is free")
