"""The edge's paths: `/ws`, `/stream.opus`, `/stream.mp3`, `/listen.m3u` and `/record`."""
