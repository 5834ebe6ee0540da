"""The bus over NATS and JetStream.

bus             NatsBus: the port's calls, each handed to the part that does it
connection      connecting, watching, beginning again
client          nats-py's client, and closing it for certain
reasons         why a server cannot be reached, in words
messaging       publish, subscribe, ask everybody
jetstream       streams are there; put into them, read from them
stream_configs  what those streams, buckets and consumers are like
render_queue    RENDER: ask for blocks; job_source: pull them
audio_history   AUDIO: what was heard last
counters        numbers that all connections share
"""

from services.runtime.bus.nats.bus import NatsBus

__all__ = ["NatsBus"]
