"""Between the edge and its sockets: uvicorn's protocols with limits, and the transports that write payloads."""
