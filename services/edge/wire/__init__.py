"""The edge's sockets: uvicorn's protocols with limits, and transports that write payloads."""
