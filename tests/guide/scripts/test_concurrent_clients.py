import os
import asyncio
import websockets
import json
import time
from typing import List

async def client_worker(client_id: int, duration_sec: int = 10) -> dict:
    """Simulates a single WebSocket client."""
    uri = f"ws://localhost:{os.environ.get('AURALIS_PORT', '8000')}/ws"
    chunks_received = 0
    underruns = 0
    latencies = []

    try:
        async with websockets.connect(uri) as websocket:
            # Start streaming
            await websocket.send(json.dumps({
                "type": "control",
                "action": "start",
                "params": {"key": "C", "bpm": 70, "intensity": 0.5}
            }))

            start_time = time.time()

            while time.time() - start_time < duration_sec:
                message = await asyncio.wait_for(websocket.recv(), timeout=1.0)
                data = json.loads(message)

                if data["type"] == "audio":
                    chunks_received += 1

                    # Calculate latency
                    server_timestamp = data.get("timestamp", 0)
                    client_timestamp = time.time()
                    latency_ms = (client_timestamp - server_timestamp) * 1000
                    latencies.append(latency_ms)

                    if data.get("buffer_depth", 100) == 0:
                        underruns += 1

            # Disconnect
            await websocket.send(json.dumps({"type": "control", "action": "stop"}))

    except Exception as e:
        print(f"Client {client_id} error: {e}")
        return {"client_id": client_id, "error": str(e)}

    # Calculate statistics
    p50_latency = sorted(latencies)[len(latencies) // 2] if latencies else 0
    p99_latency = sorted(latencies)[int(len(latencies) * 0.99)] if latencies else 0

    return {
        "client_id": client_id,
        "chunks_received": chunks_received,
        "underruns": underruns,
        "p50_latency_ms": p50_latency,
        "p99_latency_ms": p99_latency,
    }

async def test_concurrent_clients(num_clients: int = 10, duration_sec: int = 10):
    """Test multiple concurrent WebSocket clients."""
    print(f"Starting {num_clients} concurrent clients for {duration_sec} seconds...")

    # Launch all clients concurrently
    tasks = [client_worker(i, duration_sec) for i in range(num_clients)]
    results = await asyncio.gather(*tasks)

    # Aggregate results
    total_chunks = sum(r.get("chunks_received", 0) for r in results)
    total_underruns = sum(r.get("underruns", 0) for r in results)
    avg_p99_latency = sum(r.get("p99_latency_ms", 0) for r in results) / num_clients

    print("\n" + "="*60)
    print("CONCURRENT CLIENT TEST RESULTS")
    print("="*60)

    for result in results:
        if "error" in result:
            print(f"❌ Client {result['client_id']}: ERROR - {result['error']}")
        else:
            print(f"✅ Client {result['client_id']}: "
                  f"{result['chunks_received']} chunks, "
                  f"{result['underruns']} underruns, "
                  f"p99 latency: {result['p99_latency_ms']:.1f}ms")

    print("="*60)
    print(f"Total chunks delivered: {total_chunks}")
    print(f"Total underruns: {total_underruns}")
    print(f"Average p99 latency: {avg_p99_latency:.1f}ms")
    print("="*60)

    # Assertions
    assert total_chunks >= num_clients * duration_sec * 9, \
        f"Expected at least {num_clients * duration_sec * 9} chunks, got {total_chunks}"
    assert total_underruns == 0, f"Expected zero underruns, got {total_underruns}"
    assert avg_p99_latency < 100, f"Expected p99 < 100ms, got {avg_p99_latency:.1f}ms"

    print("✅ All concurrent client tests passed!")

if __name__ == "__main__":
    asyncio.run(test_concurrent_clients(num_clients=10, duration_sec=10))
