"""Everything on one machine.

up          `auralis up`: NATS and the three services, supervised
processes   child processes: NATS, Prometheus, restarts, log lines
doctor      `auralis doctor`: checks of the machine
listen      `auralis listen`
render      `auralis render`: sound, loudness and pictures as files
soak        `auralis soak`: hours under listeners, and a verdict about leaks
monitoring  `auralis monitoring`: Prometheus and Grafana
ports, http_get   helpers of the above
"""
