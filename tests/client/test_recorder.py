import io
import os
import threading
import wave
from pathlib import Path

from services.client.recorder import MAX_GAP_CHUNKS, MAX_WAITING_CHUNKS, PipeWriter, WavRecorder, wav_header
from services.contract.timebase import CHUNK_BYTES, CHUNK_FRAMES

PCM = b"\x01\x02" * (CHUNK_BYTES // 2)


def test_a_recording_is_a_wav_file_of_the_right_kind(tmp_path: Path) -> None:
    path = tmp_path / "out.wav"
    with WavRecorder(path) as recorder:
        for n in range(3):
            recorder.write(n, PCM)
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, 44100)
        assert file.getnframes() == 3 * CHUNK_FRAMES
        assert file.readframes(CHUNK_FRAMES) == PCM
    assert path.stat().st_size == 44 + 3 * CHUNK_BYTES


def test_missing_chunks_are_silence_so_that_time_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "out.wav"
    with WavRecorder(path) as recorder:
        recorder.write(7, PCM)
        recorder.write(10, PCM)
    assert recorder.silent_chunks == 2
    assert path.read_bytes()[44:] == PCM + bytes(2 * CHUNK_BYTES) + PCM


def test_a_gap_of_hours_does_not_fill_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "out.wav"
    with WavRecorder(path) as recorder:
        recorder.write(0, PCM)
        recorder.write(MAX_GAP_CHUNKS + 2, PCM)
    assert path.stat().st_size == 44 + 2 * CHUNK_BYTES


def test_the_header_of_a_recording_beyond_4_gib_is_full_and_not_broken() -> None:
    assert wav_header(2**33)[40:44] == (2**32 - 45).to_bytes(4, "little")
    assert wav_header(2**33)[4:8] == (2**32 - 9).to_bytes(4, "little")


class Stopped(io.BytesIO):
    """A pipe that nobody reads until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()
        self.reached = threading.Event()

    def write(self, data: object) -> int:
        self.reached.set()
        self.released.wait(30)
        return super().write(data)  # type: ignore[arg-type]


def test_a_pipe_that_stands_still_drops_the_oldest_and_counts_them() -> None:
    pipe = Stopped()
    writer = PipeWriter(pipe)
    writer.write(b"first")
    assert pipe.reached.wait(10)
    for n in range(MAX_WAITING_CHUNKS + 3):
        writer.write(b"%03d" % n)
    assert writer.dropped_chunks == 3
    pipe.released.set()
    writer.close()
    assert pipe.getvalue().startswith(b"first003004")
    assert not writer.broken


def test_a_reader_that_went_away_is_noticed() -> None:
    reader, out = os.pipe()
    os.close(reader)
    with os.fdopen(out, "wb", buffering=0) as pipe:
        writer = PipeWriter(pipe)
        writer.write(PCM)
        writer.close()
    assert writer.broken
