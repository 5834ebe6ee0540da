"""Encoders: Opus packets for WebSocket listeners, Ogg Opus and MP3 for mounts."""
