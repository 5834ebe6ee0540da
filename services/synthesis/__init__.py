"""Rendering: score, sound and the worker."""
