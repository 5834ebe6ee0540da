"""What a client connects to: the WebSocket, HTTP mounts, recordings."""
