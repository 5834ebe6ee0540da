"""Shells that every service shares: bus, clock, settings, lifecycle, health, logs, metrics, memory, gc.

No domain knowledge here, and no torch at import.
"""
