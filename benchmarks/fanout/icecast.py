"""Icecast's configuration, and a source for it at the others' bitrate. `python icecast.py source PORT BYTES_PER_S`."""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path

PASSWORD = "loopback"  # noqa: S105 - of a server that runs for seconds, on loopback


def config(port: int, folder: Path, bytes_per_s: int) -> str:
    """The text of an icecast.xml for one mount and many listeners, with queues of four seconds."""
    return f"""<icecast>
  <location>here</location><admin>nobody@localhost</admin>
  <limits><clients>19000</clients><sources>2</sources><queue-size>{bytes_per_s * 4}</queue-size>
    <client-timeout>30</client-timeout><header-timeout>15</header-timeout><source-timeout>10</source-timeout>
    <burst-on-connect>0</burst-on-connect><burst-size>0</burst-size></limits>
  <authentication><source-password>{PASSWORD}</source-password><relay-password>{PASSWORD}</relay-password>
    <admin-user>admin</admin-user><admin-password>{PASSWORD}</admin-password></authentication>
  <hostname>localhost</hostname>
  <listen-socket><port>{port}</port><bind-address>127.0.0.1</bind-address></listen-socket>
  <fileserve>0</fileserve>
  <paths><basedir>/usr/share/icecast2</basedir><logdir>{folder}</logdir><webroot>/usr/share/icecast2/web</webroot>
    <adminroot>/usr/share/icecast2/admin</adminroot></paths>
  <logging><accesslog>access.log</accesslog><errorlog>error.log</errorlog><loglevel>1</loglevel></logging>
  <security><chroot>0</chroot><changeowner><user>nobody</user><group>nogroup</group></changeowner></security>
</icecast>
"""


def source(port: int, bytes_per_s: int) -> None:
    """Send silence to the mount `/music` for ever, ten times a second."""
    link = socket.create_connection(("127.0.0.1", port))
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    from base64 import b64encode  # noqa: PLC0415 - only here

    credentials = b64encode(f"source:{PASSWORD}".encode()).decode()
    link.sendall(
        f"PUT /music HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {credentials}\r\n"
        "Content-Type: audio/mpeg\r\nIce-Public: 0\r\n\r\n".encode()
    )
    link.recv(4096)
    piece = bytes(bytes_per_s // 10)
    due = time.monotonic()
    while True:
        link.sendall(piece)
        due += 0.1
        time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    source(int(sys.argv[2]), int(sys.argv[3]))
