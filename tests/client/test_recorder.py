import io
import os
import shutil
import struct
import subprocess
import threading
import wave
from collections.abc import Callable
from pathlib import Path

import pytest

from services.client.recorder import MAX_GAP_CHUNKS, MAX_WAITING_CHUNKS, MAX_WAV_BYTES, PipeWriter, WavRecorder
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


def seconds_by_wave(path: Path) -> float:
    with wave.open(str(path)) as file:
        return file.getnframes() / file.getframerate()


def seconds_by_ffprobe(path: Path) -> float:
    if shutil.which("ffprobe") is None:
        pytest.skip("ffprobe is not installed")
    shown = subprocess.run(
        ["ffprobe", "-v", "error", "-show_entries", "stream=duration", "-of", "csv=p=0", str(path)],  # noqa: S607 - the one on PATH
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(shown.stdout) if shown.stdout.strip() not in ("", "N/A") else 0.0


@pytest.mark.parametrize("read_seconds", [seconds_by_wave, seconds_by_ffprobe])
def test_a_growing_recording_has_its_length_after_every_chunk(
    read_seconds: Callable[[Path], float], tmp_path: Path
) -> None:
    path = tmp_path / "out.wav"
    with WavRecorder(path) as recorder:
        assert seconds_by_wave(path) == 0
        for n in range(3):
            recorder.write(n, PCM)
            assert read_seconds(path) == pytest.approx(0.1 * (n + 1))
            assert path.stat().st_size == 44 + (n + 1) * CHUNK_BYTES


def frames(path: Path) -> bytes:
    with wave.open(str(path)) as file:
        return file.readframes(file.getnframes())


def test_past_the_longest_file_a_recording_goes_on_in_the_next_without_a_gap(tmp_path: Path) -> None:
    told: list[Path] = []
    chunks = [bytes([n]) * CHUNK_BYTES for n in range(7)]
    # Two and a half chunks: a chunk is parted between two files.
    with WavRecorder(tmp_path / "out.wav", max_bytes=CHUNK_BYTES * 5 // 2, on_next_file=told.append) as recorder:
        for n, pcm in enumerate(chunks):
            recorder.write(n, pcm)
        paths = [tmp_path / name for name in ("out.wav", "out-2.wav", "out-3.wav")]
        assert recorder.paths == paths
        assert told == paths[1:]
        # The last one too can be read while it grows.
        assert b"".join(map(frames, paths)) == b"".join(chunks)
    assert [len(frames(path)) for path in paths[:2]] == [CHUNK_BYTES * 5 // 2] * 2


def test_a_gap_longer_than_a_file_is_parted_too(tmp_path: Path) -> None:
    with WavRecorder(tmp_path / "out.wav", max_bytes=CHUNK_BYTES * 2) as recorder:
        recorder.write(0, PCM)
        recorder.write(6, PCM)
    assert b"".join(map(frames, recorder.paths)) == PCM + bytes(5 * CHUNK_BYTES) + PCM
    assert len(recorder.paths) == 4


def test_a_next_file_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "out-2.wav").write_bytes(b"of another program")
    with WavRecorder(tmp_path / "out.wav", max_bytes=CHUNK_BYTES) as recorder:
        for n in range(3):
            recorder.write(n, PCM)
    assert [path.name for path in recorder.paths] == ["out.wav", "out-3.wav", "out-4.wav"]
    assert (tmp_path / "out-2.wav").read_bytes() == b"of another program"


def declare(data_bytes: int) -> bytes:
    """The header of a WAV file with this number of bytes of samples."""
    header = io.BytesIO()
    file = wave.open(header, "wb")  # noqa: SIM115 - see below
    file.setparams((2, 2, 44100, data_bytes // 4, "NONE", "not compressed"))
    try:
        file.writeframesraw(b"1234")
        return header.getvalue()[:44]
    finally:
        # Closing would look for the samples that are not there.
        file._file = None  # type: ignore[attr-defined]


def test_the_longest_file_is_the_longest_that_a_header_can_tell() -> None:
    assert int.from_bytes(declare(MAX_WAV_BYTES)[40:44], "little") == MAX_WAV_BYTES
    with pytest.raises(struct.error):
        declare(MAX_WAV_BYTES + 4)


class Stopped(io.BytesIO):
    """A pipe without a reader until it is released."""

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
