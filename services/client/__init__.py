"""A Python client: `Client` streams music from an edge, reconnects, and joins changes without a click.

```python
async with Client("ws://127.0.0.1:8000/ws", StreamSpec.from_params({"key": "D", "bpm": 60})) as client:
    async for chunk in client:
        sound_card.write(chunk.pcm)
```
"""

from services.client.backoff import Backoff
from services.client.client import Client
from services.client.errors import ClientError, RefusedError
from services.client.session import Chunk, Event, Format, Hello, ServerError, Splice, Status
from services.client.statistics import Summary

__all__ = [
    "Backoff",
    "Chunk",
    "Client",
    "ClientError",
    "Event",
    "Format",
    "Hello",
    "RefusedError",
    "ServerError",
    "Splice",
    "Status",
    "Summary",
]
