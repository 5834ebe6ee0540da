"""A listener in Python: connects to an edge, comes back after a broken connection, follows changes without a click.

```python
async with Client("ws://127.0.0.1:8000/ws", StreamSpec.from_params({"key": "D", "bpm": 60})) as client:
    async for chunk in client:
        sound_card.write(chunk.pcm)
```
"""

from services.client.client import Client, ClientError, RefusedError
from services.client.session import Chunk

__all__ = ["Chunk", "Client", "ClientError", "RefusedError"]
