"""Run a service whose wall clock a test can step: `python -m tests.support.stepped_clock services.edge`.

The file that AURALIS_TEST_CLOCK names holds seconds that are added to `time.time()`. As with an NTP step or `date -s`,
the monotonic clock is not affected.
"""

from __future__ import annotations

import os
import runpy
import sys
import threading
import time
from pathlib import Path

POLL_S = 0.05


def main() -> None:
    file = Path(os.environ["AURALIS_TEST_CLOCK"])
    real = time.time
    offset_s = 0.0

    def look() -> None:
        nonlocal offset_s
        while True:
            offset_s = float(file.read_text() or 0)
            time.sleep(POLL_S)

    # Before any service is imported, so that `from time import time` binds this one.
    time.time = lambda: real() + offset_s
    threading.Thread(target=look, daemon=True).start()
    module = sys.argv[1]
    sys.argv = sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
