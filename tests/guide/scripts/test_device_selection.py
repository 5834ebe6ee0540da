import torch
from services.synthesis.device_selector import AutoDeviceSelector

def test_device_selection():
    """Test automatic GPU device selection."""
    selector = AutoDeviceSelector()
    device = selector.select_device()

    print(f"Selected device: {device}")
    print(f"Device type: {device.type}")

    # Verify device is GPU if available
    if torch.backends.mps.is_available():
        assert device.type == "mps", f"Expected MPS device on Apple Silicon, got {device.type}"
        print("✅ Metal (MPS) device selected correctly")
    elif torch.cuda.is_available():
        assert device.type == "cuda", f"Expected CUDA device, got {device.type}"
        print("✅ CUDA device selected correctly")
    else:
        assert device.type == "cpu", f"Expected CPU fallback, got {device.type}"
        print("⚠️  CPU fallback (no GPU available)")

if __name__ == "__main__":
    test_device_selection()
