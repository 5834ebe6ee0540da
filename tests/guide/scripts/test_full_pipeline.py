import os
import asyncio
import websockets
import json
import base64
import numpy as np
import time

async def test_full_pipeline():
    """Test complete audio pipeline end-to-end."""

    uri = f"ws://localhost:{os.environ.get('AURALIS_PORT', '8000')}/ws"
    chunks_received = 0
    audio_data_bytes = bytearray()

    print("Connecting to WebSocket server...")
    async with websockets.connect(uri) as websocket:
        # Start streaming
        print("Sending start control message...")
        await websocket.send(json.dumps({
            "type": "control",
            "action": "start",
            "params": {
                "key": "C",
                "bpm": 70,
                "intensity": 0.5
            }
        }))

        # Receive 50 chunks (~5 seconds)
        print("Receiving audio chunks...\n")

        for _ in range(50):
            message = await websocket.recv()
            data = json.loads(message)

            if data["type"] == "audio":
                chunks_received += 1

                # Decode audio data
                chunk_data_b64 = data["data"]
                chunk_data_bytes = base64.b64decode(chunk_data_b64)
                audio_data_bytes.extend(chunk_data_bytes)

                # Log progress
                if chunks_received % 10 == 0:
                    buffer_depth = data.get("buffer_depth", 0)
                    tier = data.get("current_tier", "unknown")
                    print(f"Chunk {chunks_received}: buffer_depth={buffer_depth}, tier={tier}")

        # Stop streaming
        print("\nSending stop control message...")
        await websocket.send(json.dumps({"type": "control", "action": "stop"}))

    # Validate received audio
    print("\n" + "="*60)
    print("FULL PIPELINE TEST RESULTS")
    print("="*60)
    print(f"Chunks received: {chunks_received}")
    print(f"Total audio data: {len(audio_data_bytes)} bytes ({len(audio_data_bytes) / 1024:.1f} KB)")
    print(f"Expected data: {50 * 17640} bytes ({50 * 17640 / 1024:.1f} KB)")
    print("="*60)

    # Convert to numpy array
    audio_array = np.frombuffer(audio_data_bytes, dtype=np.int16)
    audio_stereo = audio_array.reshape(-1, 2)

    print(f"Audio shape: {audio_stereo.shape}")
    print(f"Duration: {audio_stereo.shape[0] / 44100:.2f} seconds")
    print(f"Sample rate: 44,100 Hz")
    print(f"Channels: 2 (stereo)")
    print("="*60)

    # Assertions
    assert chunks_received == 50, f"Expected 50 chunks, got {chunks_received}"
    assert len(audio_data_bytes) == 50 * 17640, \
        f"Expected {50 * 17640} bytes, got {len(audio_data_bytes)}"
    assert audio_stereo.shape[1] == 2, f"Expected stereo (2 channels), got {audio_stereo.shape[1]}"

    print("✅ Full pipeline test passed successfully")

if __name__ == "__main__":
    asyncio.run(test_full_pipeline())
