import asyncio
import time
from services.edge.streaming_server import StreamingServer
from services.edge.chunk_encoder import ChunkEncoder
from unittest.mock import MagicMock, patch

async def test_broadcast_encoding():
    """Verify that chunks are encoded once for N clients."""

    # Mock encoder to count encode calls
    encode_count = 0

    def mock_encode(audio_data):
        nonlocal encode_count
        encode_count += 1
        return "base64_encoded_data"

    with patch.object(ChunkEncoder, 'encode', side_effect=mock_encode):
        server = StreamingServer()

        # Simulate 10 connected clients
        num_clients = 10
        mock_clients = [MagicMock() for _ in range(num_clients)]
        server.clients = mock_clients

        # Send 50 chunks
        num_chunks = 50
        for i in range(num_chunks):
            fake_audio_data = b'\x00' * 17640  # 100ms stereo PCM
            await server.broadcast_chunk(fake_audio_data)

        # Calculate encoding efficiency
        expected_encodes = num_chunks  # Should encode once per chunk
        actual_encodes = encode_count
        efficiency_ratio = num_clients / (actual_encodes / num_chunks)

        print(f"Chunks broadcasted: {num_chunks}")
        print(f"Clients: {num_clients}")
        print(f"Expected encode calls: {expected_encodes}")
        print(f"Actual encode calls: {actual_encodes}")
        print(f"Encoding efficiency: {efficiency_ratio:.1f}x (1 encode → {num_clients} sends)")

        # Assertions
        assert actual_encodes == expected_encodes, \
            f"Expected {expected_encodes} encodes, got {actual_encodes}"
        assert efficiency_ratio == num_clients, \
            f"Expected {num_clients}x efficiency, got {efficiency_ratio:.1f}x"

        print("✅ Broadcast encoding is efficient (1× encode, N× send)")

if __name__ == "__main__":
    asyncio.run(test_broadcast_encoding())
