"""Measures instruments from free recordings: `scripts/measure-instruments`."""
