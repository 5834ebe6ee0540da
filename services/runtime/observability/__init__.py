"""Logs, traces, and the answer to a scrape over the bus."""
