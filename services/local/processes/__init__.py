"""Child processes: supervision, restarts, log lines, NATS and Prometheus servers."""
