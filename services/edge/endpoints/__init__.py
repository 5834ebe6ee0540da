"""What the edge serves: `/ws`, mounts (`/stream.opus`, `/stream.mp3`), playlists and recordings."""
