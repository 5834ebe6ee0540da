import asyncio
import time
import psutil
import torch
import numpy as np
from services.synthesis.synthesis_engine import OptimizedSynthesisEngine
from services.runtime.memory_monitor import MemoryMonitor
from statistics import mean, stdev

def benchmark_synthesis_latency(iterations: int = 100):
    """Benchmark synthesis latency."""
    device = torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    engine = OptimizedSynthesisEngine(device=device, batch_size=8, enable_compile=True)

    chords = [(0, 60, "major"), (22050, 65, "minor")]
    melody = [(0, 72, 0.8, 0.5), (11025, 74, 0.7, 0.5)]
    duration_sec = 1.0

    # Warm-up
    for _ in range(10):
        engine.render_phrase(chords, melody, duration_sec)

    # Benchmark
    latencies = []
    for _ in range(iterations):
        start = time.perf_counter()
        engine.render_phrase(chords, melody, duration_sec)
        latency_ms = (time.perf_counter() - start) * 1000
        latencies.append(latency_ms)

    p50 = sorted(latencies)[len(latencies) // 2]
    p99 = sorted(latencies)[int(len(latencies) * 0.99)]
    avg = mean(latencies)

    return {
        "metric": "Synthesis Latency",
        "p50_ms": p50,
        "p99_ms": p99,
        "avg_ms": avg,
        "target_p99_ms": 100,
        "pass": p99 < 100
    }

def benchmark_memory_usage():
    """Benchmark memory usage."""
    process = psutil.Process()

    # Initial memory
    initial_rss = process.memory_info().rss / 1024 / 1024  # MB

    # Run synthesis for 100 iterations
    device = torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    engine = OptimizedSynthesisEngine(device=device)

    chords = [(0, 60, "major"), (22050, 65, "minor")]
    melody = [(0, 72, 0.8, 0.5), (11025, 74, 0.7, 0.5)]

    for _ in range(100):
        engine.render_phrase(chords, melody, 1.0)

    # Final memory
    final_rss = process.memory_info().rss / 1024 / 1024  # MB
    memory_growth = final_rss - initial_rss

    return {
        "metric": "Memory Growth (100 iterations)",
        "initial_mb": initial_rss,
        "final_mb": final_rss,
        "growth_mb": memory_growth,
        "target_growth_mb": 5,
        "pass": memory_growth < 5
    }

def benchmark_gpu_utilization():
    """Benchmark GPU memory utilization."""
    device = torch.device("mps" if torch.backends.mps.is_available() else "cpu")

    if device.type == "mps":
        # Metal GPU memory
        initial_allocated = torch.mps.current_allocated_memory() / 1024 / 1024

        engine = OptimizedSynthesisEngine(device=device, batch_size=8)
        chords = [(0, 60, "major"), (22050, 65, "minor")]
        melody = [(0, 72, 0.8, 0.5), (11025, 74, 0.7, 0.5)]

        for _ in range(50):
            engine.render_phrase(chords, melody, 1.0)

        peak_allocated = torch.mps.current_allocated_memory() / 1024 / 1024
        gpu_usage = peak_allocated - initial_allocated

        return {
            "metric": "GPU Memory Usage",
            "peak_allocated_mb": peak_allocated,
            "usage_mb": gpu_usage,
            "target_mb": 500,
            "pass": gpu_usage < 500
        }
    else:
        return {
            "metric": "GPU Memory Usage",
            "error": "No GPU available",
            "pass": False
        }

async def run_full_benchmark_suite():
    """Run complete benchmark suite."""

    print("="*60)
    print("PERFORMANCE BENCHMARK SUITE")
    print("="*60)
    print()

    # Run benchmarks
    print("Running synthesis latency benchmark...")
    latency_result = benchmark_synthesis_latency(iterations=100)

    print("Running memory usage benchmark...")
    memory_result = benchmark_memory_usage()

    print("Running GPU utilization benchmark...")
    gpu_result = benchmark_gpu_utilization()

    # Display results
    print("\n" + "="*60)
    print("BENCHMARK RESULTS")
    print("="*60)

    results = [latency_result, memory_result, gpu_result]

    for result in results:
        metric = result["metric"]
        status = "✅ PASS" if result.get("pass", False) else "❌ FAIL"

        print(f"\n{metric}: {status}")
        print("-" * 40)

        for key, value in result.items():
            if key not in ["metric", "pass"]:
                if isinstance(value, float):
                    print(f"  {key}: {value:.2f}")
                else:
                    print(f"  {key}: {value}")

    print("\n" + "="*60)

    # Overall pass/fail
    all_passed = all(r.get("pass", False) for r in results)

    if all_passed:
        print("✅ ALL BENCHMARKS PASSED")
    else:
        failed_count = sum(1 for r in results if not r.get("pass", False))
        print(f"❌ {failed_count} BENCHMARK(S) FAILED")

    print("="*60)

if __name__ == "__main__":
    asyncio.run(run_full_benchmark_suite())
