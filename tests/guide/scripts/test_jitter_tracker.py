import pytest
from services.edge.jitter_tracker import JitterTracker, ChunkTimestamp

def test_ema_jitter_tracking():
    """Test EMA-based jitter calculation."""
    tracker = JitterTracker(window_size=50, alpha=0.1)

    # Simulate 100 chunks with varying jitter
    base_time = 1735228800.0
    chunk_interval = 0.1  # 100ms per chunk

    for i in range(100):
        expected_time = base_time + (i * chunk_interval)

        # Add realistic jitter (±5-20ms)
        import random
        actual_time = expected_time + random.uniform(-0.020, 0.020)

        timestamp = ChunkTimestamp(
            chunk_id=i,
            expected_time=expected_time,
            actual_time=actual_time
        )

        tracker.record_chunk(timestamp, underrun=False)

    # Verify jitter statistics
    mean_jitter = tracker.get_mean_jitter_ms()
    jitter_std = tracker.get_jitter_std()
    recommended_buffer = tracker.get_recommended_buffer_ms(confidence=0.95)

    print(f"Mean jitter: {mean_jitter:.2f}ms")
    print(f"Jitter std dev: {jitter_std:.2f}ms")
    print(f"Recommended buffer (95% confidence): {recommended_buffer:.2f}ms")

    # Assertions
    assert 0 <= mean_jitter <= 30, f"Mean jitter out of range: {mean_jitter}ms"
    assert 200 <= recommended_buffer <= 3000, f"Buffer recommendation out of range: {recommended_buffer}ms"
    assert tracker.get_underrun_rate() == 0.0, "Should have zero underruns"

    print("✅ EMA jitter tracking working correctly")

if __name__ == "__main__":
    test_ema_jitter_tracking()
