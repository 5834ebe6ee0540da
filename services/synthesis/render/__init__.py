"""Rendering: batches of blocks on a device, offline files, calibration, and the name of the music."""
