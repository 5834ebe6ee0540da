"""The bus over NATS and JetStream.

bus             NatsBus: each call of the port goes to one of the parts below
connection      connects, watches, reconnects
client          nats-py's client, with a close that always ends
reasons         why a server cannot be reached, as a sentence
messaging       publish, subscribe, request many answers
jetstream       keeps streams in place, publishes into them, reads them
stream_configs  configurations of streams, buckets and consumers
render_queue    RENDER: publishes asks; job_source pulls them
audio_history   AUDIO: reads recent blocks
counters        counters that all connections share
"""

from services.runtime.bus.nats.bus import NatsBus

__all__ = ["NatsBus"]
