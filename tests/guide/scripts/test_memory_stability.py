import asyncio
import psutil
import time
import numpy as np
from services.runtime.memory_monitor import MemoryMonitor
from services.synthesis.synthesis_engine import OptimizedSynthesisEngine

async def test_memory_stability(duration_hours: float = 0.5):
    """Run synthesis for extended period and monitor memory growth."""

    monitor = MemoryMonitor(sample_interval_sec=10)

    device = torch.device("mps" if torch.backends.mps.is_available()
                          else "cuda" if torch.cuda.is_available()
                          else "cpu")

    engine = OptimizedSynthesisEngine(device=device)

    # Test data
    chords = [(0, 60, "major"), (22050, 65, "minor")]
    melody = [(0, 72, 0.8, 0.5), (11025, 74, 0.7, 0.5)]
    duration_sec = 1.0

    # Start monitoring
    monitor.start()

    print(f"Running memory stability test for {duration_hours} hours...")
    print("Press Ctrl+C to stop early\n")

    start_time = time.time()
    duration_sec_total = duration_hours * 3600
    iteration = 0

    try:
        while time.time() - start_time < duration_sec_total:
            # Render phrase
            audio = engine.render_phrase(chords, melody, duration_sec)

            iteration += 1

            # Log every 100 iterations
            if iteration % 100 == 0:
                snapshot = monitor.get_current_snapshot()
                elapsed_min = (time.time() - start_time) / 60
                print(f"[{elapsed_min:.1f}m] Iteration {iteration}: "
                      f"RSS={snapshot.rss_mb:.1f}MB, "
                      f"GPU={snapshot.gpu_allocated_mb:.1f}MB")

            # Small delay to simulate realistic usage
            await asyncio.sleep(0.01)

    except KeyboardInterrupt:
        print("\n⚠️  Test interrupted by user")

    # Stop monitoring and analyze
    monitor.stop()
    growth_report = monitor.get_memory_growth_report()

    print("\n" + "="*60)
    print("MEMORY STABILITY TEST RESULTS")
    print("="*60)
    print(f"Test duration: {(time.time() - start_time) / 3600:.2f} hours")
    print(f"Iterations: {iteration}")
    print("-"*60)
    print(f"Initial RSS memory: {growth_report['initial_rss_mb']:.1f}MB")
    print(f"Final RSS memory: {growth_report['final_rss_mb']:.1f}MB")
    print(f"Memory growth: {growth_report['growth_mb']:.1f}MB")
    print(f"Growth rate: {growth_report['growth_rate_mb_per_hour']:.2f}MB/hour")
    print("-"*60)
    print(f"Leak detected: {growth_report['leak_detected']}")
    print("="*60)

    # Assertions
    assert growth_report['growth_mb'] < 10, \
        f"Memory growth should be <10MB, got {growth_report['growth_mb']:.1f}MB"
    assert not growth_report['leak_detected'], \
        "Memory leak detected!"

    print("✅ Memory remains stable over extended period")

if __name__ == "__main__":
    import argparse
    import torch
    parser = argparse.ArgumentParser()
    parser.add_argument("--duration", type=float, default=0.5, help="hours")
    asyncio.run(test_memory_stability(duration_hours=parser.parse_args().duration))
