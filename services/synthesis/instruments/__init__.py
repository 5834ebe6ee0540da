"""Instruments that were measured: tables of the levels and phases of their partials. Nothing plays them yet."""
