"""From streams to connections: the hub, its ticker and its crowd."""
