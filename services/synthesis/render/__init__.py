"""From a score to blocks of PCM: packing, kernels, reverb sends, readback."""
