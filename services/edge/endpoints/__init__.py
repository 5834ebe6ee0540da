"""The edge's paths: `/ws`, `/stream.opus` and `/stream.mp3` (mounts), `/listen.m3u`, `/record`."""
