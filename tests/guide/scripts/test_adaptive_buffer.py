import os
import asyncio
import websockets
import json
import time
import random

async def test_tier_promotion():
    """Simulate network jitter to trigger tier promotion."""
    uri = f"ws://localhost:{os.environ.get('AURALIS_PORT', '8000')}/ws"

    async with websockets.connect(uri) as websocket:
        # Send initial control message
        await websocket.send(json.dumps({
            "type": "control",
            "action": "start",
            "params": {"key": "C", "bpm": 70, "intensity": 0.5}
        }))

        chunk_count = 0
        delayed_chunks = 0

        for _ in range(100):  # Receive 100 chunks (~10 seconds)
            # Simulate network delay randomly
            if random.random() < 0.2:  # 20% chance of delay
                await asyncio.sleep(random.uniform(0.05, 0.15))  # 50-150ms delay
                delayed_chunks += 1

            message = await websocket.recv()
            data = json.loads(message)

            if data["type"] == "audio":
                chunk_count += 1
                # Only the player knows that a chunk came too late for it, so it says so (see ../README.md).
                await websocket.send(json.dumps({
                    "type": "report",
                    "chunk_id": data["chunk_id"],
                    "buffer_ms": 100.0 * data["buffer_depth"],
                    "underruns": delayed_chunks,
                    "jitter_ms": 100.0 if delayed_chunks else 0.0,
                }))
                current_tier = data.get("current_tier", "unknown")
                buffer_depth = data.get("buffer_depth", 0)

                print(f"Chunk {chunk_count}: tier={current_tier}, buffer_depth={buffer_depth}")

                # After 50 chunks, should promote to defensive tier
                if chunk_count == 50:
                    assert current_tier == "defensive", \
                        f"Expected 'defensive' tier after {delayed_chunks} delays, got '{current_tier}'"
                    print(f"✅ Tier promoted to 'defensive' after {delayed_chunks} delayed chunks")

        # Send disconnect
        await websocket.send(json.dumps({"type": "control", "action": "stop"}))

if __name__ == "__main__":
    asyncio.run(test_tier_promotion())
