"""Encoders: Opus for listeners, Ogg Opus and MP3 for mounts."""
