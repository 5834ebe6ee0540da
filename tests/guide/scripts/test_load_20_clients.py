import os
import asyncio
import websockets
import json
import time
from statistics import mean, stdev

async def client_load_worker(client_id: int, duration_sec: int = 60):
    """Simulates a high-load WebSocket client."""
    uri = f"ws://localhost:{os.environ.get('AURALIS_PORT', '8000')}/ws"
    chunks = []
    errors = []

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
                try:
                    message = await asyncio.wait_for(websocket.recv(), timeout=2.0)
                    data = json.loads(message)

                    if data["type"] == "audio":
                        recv_time = time.time()
                        server_time = data.get("timestamp", recv_time)
                        latency_ms = (recv_time - server_time) * 1000

                        chunks.append({
                            "latency_ms": latency_ms,
                            "buffer_depth": data.get("buffer_depth", 0),
                            "tier": data.get("current_tier", "unknown")
                        })

                except asyncio.TimeoutError:
                    errors.append("recv_timeout")

            # Disconnect
            await websocket.send(json.dumps({"type": "control", "action": "stop"}))

    except Exception as e:
        errors.append(str(e))

    # Calculate statistics
    if chunks:
        latencies = [c["latency_ms"] for c in chunks]
        p50 = sorted(latencies)[len(latencies) // 2]
        p99 = sorted(latencies)[int(len(latencies) * 0.99)]
        underruns = sum(1 for c in chunks if c["buffer_depth"] == 0)
    else:
        p50 = p99 = underruns = 0

    return {
        "client_id": client_id,
        "chunks_received": len(chunks),
        "errors": len(errors),
        "p50_latency_ms": p50,
        "p99_latency_ms": p99,
        "underruns": underruns
    }

async def load_test_20_clients(num_clients: int = 20, duration_sec: int = 60):
    """Run load test with 20 concurrent clients."""

    print(f"Starting load test: {num_clients} clients for {duration_sec} seconds")
    print("="*60)

    # Launch all clients
    tasks = [client_load_worker(i, duration_sec) for i in range(num_clients)]
    results = await asyncio.gather(*tasks)

    # Aggregate results
    total_chunks = sum(r["chunks_received"] for r in results)
    total_errors = sum(r["errors"] for r in results)
    total_underruns = sum(r["underruns"] for r in results)
    avg_p99_latency = mean([r["p99_latency_ms"] for r in results if r["chunks_received"] > 0])

    print("\nLOAD TEST RESULTS")
    print("="*60)
    print(f"Clients: {num_clients}")
    print(f"Duration: {duration_sec} seconds")
    print(f"Total chunks delivered: {total_chunks}")
    print(f"Total errors: {total_errors}")
    print(f"Total underruns: {total_underruns}")
    print(f"Average p99 latency: {avg_p99_latency:.1f}ms")
    print("="*60)

    # Per-client breakdown
    print("\nPer-Client Results:")
    for r in results[:5]:  # Show first 5 clients
        print(f"  Client {r['client_id']}: {r['chunks_received']} chunks, "
              f"{r['errors']} errors, p99={r['p99_latency_ms']:.1f}ms, "
              f"{r['underruns']} underruns")
    if num_clients > 5:
        print(f"  ... ({num_clients - 5} more clients)")

    print("="*60)

    # Assertions
    min_expected_chunks = num_clients * duration_sec * 8  # ~8 chunks/sec per client
    assert total_chunks >= min_expected_chunks, \
        f"Expected ≥{min_expected_chunks} chunks, got {total_chunks}"
    assert total_underruns < total_chunks * 0.01, \
        f"Underrun rate {total_underruns/total_chunks*100:.2f}% exceeds 1% threshold"
    assert avg_p99_latency < 100, \
        f"Average p99 latency {avg_p99_latency:.1f}ms exceeds 100ms target"

    print("✅ Load test passed: System handles 20+ concurrent clients")

if __name__ == "__main__":
    asyncio.run(load_test_20_clients(num_clients=20, duration_sec=60))
