import time
import torch
from services.synthesis.synthesis_engine import OptimizedSynthesisEngine

def benchmark_torch_compile():
    """Benchmark synthesis with and without torch.compile."""

    device = torch.device("mps" if torch.backends.mps.is_available()
                          else "cuda" if torch.cuda.is_available()
                          else "cpu")

    # Test data
    chords = [(0, 60, "major"), (22050, 65, "minor")]
    melody = [(0, 72, 0.8, 0.5), (11025, 74, 0.7, 0.5)]
    duration_sec = 1.0
    num_iterations = 50

    # Without torch.compile
    print("Benchmarking without torch.compile...")
    engine_no_compile = OptimizedSynthesisEngine(device=device, enable_compile=False)

    start_time = time.time()
    for _ in range(num_iterations):
        audio = engine_no_compile.render_phrase(chords, melody, duration_sec)
    time_no_compile = (time.time() - start_time) / num_iterations

    # With torch.compile
    print("Benchmarking with torch.compile...")
    engine_compile = OptimizedSynthesisEngine(device=device, enable_compile=True)

    # Warm-up compile
    _ = engine_compile.render_phrase(chords, melody, duration_sec)

    start_time = time.time()
    for _ in range(num_iterations):
        audio = engine_compile.render_phrase(chords, melody, duration_sec)
    time_compile = (time.time() - start_time) / num_iterations

    # Calculate speedup
    speedup = time_no_compile / time_compile

    print("\n" + "="*60)
    print("TORCH.COMPILE BENCHMARK")
    print("="*60)
    print(f"Device: {device}")
    print(f"Iterations: {num_iterations}")
    print("-"*60)
    print(f"Without torch.compile: {time_no_compile*1000:.2f}ms")
    print(f"With torch.compile: {time_compile*1000:.2f}ms")
    print(f"Speedup: {speedup:.2f}x")
    print("="*60)

    # Assertions
    assert time_compile < 0.1, f"Compiled synthesis should be <100ms, got {time_compile*1000:.2f}ms"
    assert speedup > 1.2, f"torch.compile should provide >1.2x speedup, got {speedup:.2f}x"

    print("✅ torch.compile provides kernel fusion speedup")

if __name__ == "__main__":
    benchmark_torch_compile()
