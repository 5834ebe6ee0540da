"""The name of this process in the fleet (shell: environment, host name, process id)."""

from __future__ import annotations

import multiprocessing
import os
import re
import socket
from collections.abc import Mapping

from services.runtime.settings import Settings

_MAX_CHARACTERS = 63


def instance_name(settings: Settings, service: str, environ: Mapping[str, str] | None = None) -> str:
    """A name that is unique in the fleet: at most 63 characters of `[A-Za-z0-9._-]`.

    It is `AURALIS_INSTANCE` where that is set, in a pod the pod's name, elsewhere service, host and process id.

    Args:
        settings: for `instance`.
        service: "synthesis", "edge" or "telemetry".
        environ: the environment; None: this process's own.
    """
    environ = os.environ if environ is None else environ
    pid = os.getpid()
    host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname()) or "host"
    if settings.instance:
        name = settings.instance
        # Several workers of one server (`uvicorn --workers 4`) share one environment.
        alone = multiprocessing.parent_process() is None
    elif "KUBERNETES_SERVICE_HOST" in environ:
        name = host
        alone = pid == 1 or multiprocessing.parent_process() is None
    else:
        name = f"{service}-{host}"
        alone = False
    suffix = "" if alone else f"-{pid}"
    return name[: _MAX_CHARACTERS - len(suffix)] + suffix
