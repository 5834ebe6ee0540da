"""Alerts, judged here or read from a Prometheus."""
