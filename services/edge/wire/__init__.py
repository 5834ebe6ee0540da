"""Below HTTP and WebSocket: uvicorn's protocols and raw socket writes."""
