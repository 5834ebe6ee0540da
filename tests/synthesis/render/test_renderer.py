from __future__ import annotations

import dataclasses
import hashlib
import time

import numpy as np
import pytest

from services.contract.block import Chord
from services.contract.spec import PRESETS, StreamSpec
from services.contract.timebase import BLOCKS_PER_SECTION
from services.synthesis.dsp.control import Column
from services.synthesis.dsp.reverb import PARTS, SECONDS_NEEDED
from services.synthesis.packing.placement import Placement
from services.synthesis.packing.section_store import SectionStore
from services.synthesis.render.batch import Job, RenderedBatch
from services.synthesis.render.groups import bright_slices, equal_shares
from services.synthesis.render.readback import interleave
from services.synthesis.render.renderer import Renderer
from services.synthesis.render.reverb_sends import SendStore
from services.synthesis.score.events import Layer
from tests.synthesis.conftest import BUILD_TIMEOUT_S, CPU
from tests.synthesis.fakes import score
from tests.synthesis.listening import as_sound, db, difference_db

BLOCK = 1_700_000_000
SECTION_END = 7_083_334 * BLOCKS_PER_SECTION
MIXED: list[Job] = [
    (
        StreamSpec(
            preset=preset,
            intensity_steps=4 * index % 21,
            seed=index,
            # The first one is not steered.
            brightness_steps=(10 + 3 * index) % 21,
            density_steps=(10 + 5 * index) % 21,
            level_steps=tuple(max(10 - index * layer, 0) for layer in range(7)),
        ),
        BLOCK + 7 * index,
    )
    for index, preset in enumerate(PRESETS)
]


def _hashes(renderer: Renderer, jobs: list[Job]) -> dict[Job, bytes]:
    rendered = renderer.render(jobs)
    return {job: hashlib.sha256(rendered.pcm[row].tobytes()).digest() for row, job in enumerate(jobs)}


def _check_composition(make: Renderer, again: Renderer, mixed: list[Job]) -> None:
    """Rendered together, alone, shuffled, twice, with and without kept seconds: always the same bytes."""
    together = _hashes(make, mixed)
    assert len(set(together.values())) == len(mixed)
    shuffled = mixed[1::2] + mixed[::2]
    for jobs in (shuffled, shuffled[:3], [mixed[0], mixed[0]], mixed):
        for job, digest in _hashes(make, jobs).items():
            assert digest == together[job]
    for job in mixed[:4]:
        assert _hashes(again, [job]) == {job: together[job]}


def test_the_same_job_gives_the_same_bytes_in_any_batch(eager: Renderer) -> None:
    _check_composition(eager, Renderer(CPU, enable_compile=False, max_streams=8), MIXED[:3])


@pytest.mark.timeout(BUILD_TIMEOUT_S)
def test_compiled_jobs_give_the_same_bytes_in_any_batch(compiled: Renderer) -> None:
    again = Renderer(CPU, batch_size=3, max_streams=8)
    again.warm_up()
    _check_composition(compiled, again, MIXED)


@pytest.mark.timeout(BUILD_TIMEOUT_S)
@pytest.mark.usefixtures("compiled")
def test_what_is_kept_follows_the_streams_in_use() -> None:
    renderer = Renderer(CPU, max_streams=200)
    renderer.warm_up()
    heard = StreamSpec(seed=1)
    for second in range(80):
        # Steered each second: another stream each time.
        renderer.render([(heard, BLOCK + second), (StreamSpec(seed=2 + second), BLOCK + second)])
    # Streams that are idle for half a minute are gone; of each other one at most three sections are kept.
    assert len(renderer.sections) <= 3 * 32
    assert len(renderer._sends) <= SECONDS_NEEDED * 32


@pytest.mark.timeout(BUILD_TIMEOUT_S)
def test_rendering_in_one_call_is_rendering_in_pieces(compiled: Renderer) -> None:
    spec = StreamSpec(preset="harbor", intensity_steps=14)
    blocks = range(SECTION_END - 4, SECTION_END + 4)
    whole = compiled.render([(spec, block) for block in blocks]).pcm
    backwards = {block: compiled.render([(spec, block)]).pcm[0] for block in reversed(blocks)}
    cold = Renderer(CPU, max_streams=8)
    for row, block in enumerate(blocks):
        assert np.array_equal(whole[row], backwards[block])
    assert np.array_equal(whole[5], cold.render([(spec, blocks[5])]).pcm[0])


def test_a_second_that_another_thread_is_still_writing_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = StreamSpec(preset="nocturne")
    jobs = [(spec, BLOCK + second) for second in range(12)]
    alone = Renderer(CPU, threads=1, batch_size=4, max_streams=8)
    expected = alone.render(jobs).pcm
    together = Renderer(CPU, threads=2, batch_size=4, max_streams=8)
    together.warm_up()
    claim = SendStore.claim

    def late(store: SendStore, keys: list[tuple[str, int]]) -> list[int]:
        slots = claim(store, keys)
        if (spec.stream_id, BLOCK + 7) in keys:
            # A real pause: the third group begins while the second has claimed a slot and not written it.
            time.sleep(1.0)
        return slots

    monkeypatch.setattr(SendStore, "claim", late)
    assert np.array_equal(together.render(jobs).pcm, expected)


def test_a_failure_is_raised_when_no_thread_writes_into_the_buffer_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    renderer = Renderer(CPU, enable_compile=False, threads=2, batch_size=1, max_streams=8)
    renderer.warm_up()
    render_group = renderer._render_group

    def fail_or_take_long(rows: list[Placement], group: list[int], result: object) -> object:
        if rows[group[0]].spec.seed == 1:
            raise MemoryError("no memory for this one")
        # A real pause: the other group fails meanwhile.
        time.sleep(0.3)
        return render_group(rows, group, result)  # type: ignore[arg-type]  # passed through

    monkeypatch.setattr(renderer, "_render_group", fail_or_take_long)
    buffer = np.zeros((2, 10, 4_410, 2), dtype=np.int16)
    with pytest.raises(MemoryError):
        renderer.render([(StreamSpec(seed=seed), BLOCK) for seed in (1, 2)], buffer)
    # The caller's next batch goes into the same buffer.
    buffer[:] = 7
    # Longer than the slow group takes: if it still ran, it would write now.
    time.sleep(0.5)
    renderer.close()
    assert (buffer == 7).all()


@pytest.mark.timeout(BUILD_TIMEOUT_S)
def test_eager_and_compiled_sound_agree_to_90_dbfs(compiled: Renderer, eager: Renderer) -> None:
    jobs = MIXED[:3]
    fast, slow = (as_sound(renderer.render(jobs).pcm) for renderer in (compiled, eager))
    # One step of 16 bits is -90.3 dBFS: rounding may fall the other way, nothing more.
    assert difference_db(fast, slow) <= db(1.01 / 32_768.0)
    assert np.abs(fast).max() > 0.05


def test_a_block_reads_nothing_but_its_spec_and_number(renderer: Renderer) -> None:
    spec = StreamSpec(preset="tundra")
    one = renderer.render([(spec, BLOCK + 3)]).pcm
    for block in (BLOCK + 900, BLOCK - 1, BLOCK + 2):
        renderer.render([(spec, block)])
    assert np.array_equal(renderer.render([(spec, BLOCK + 3)]).pcm, one)


def test_every_field_of_the_spec_is_heard(renderer: Renderer) -> None:
    base = StreamSpec()
    others = [
        dataclasses.replace(base, **change)  # type: ignore[arg-type]
        for change in (
            {"key": "F#"}, {"mode": "lydian"}, {"bpm": 90}, {"intensity_steps": 18}, {"preset": "lantern"}, {"seed": 9},
        )
    ]  # fmt: skip
    rendered = renderer.render([(spec, BLOCK) for spec in (base, *others)]).pcm
    assert len({rendered[row].tobytes() for row in range(len(rendered))}) == len(rendered)


class _Poisoned(SectionStore):
    """Gives the partials of one stream gains that are not a number."""

    def place(self, spec: StreamSpec, block: int) -> Placement:
        placement = super().place(spec, block)
        if spec.seed == 666:
            for sounding in placement.low:
                sounding.table.words.view(np.float32)[:, [Column.GAIN_LEFT, Column.GAIN_SEND]] = np.nan
        return placement


def _check_nan_is_silenced(renderer: Renderer) -> None:
    good = [(StreamSpec(seed=seed), BLOCK) for seed in (1, 2)]
    clean = renderer.render(good).pcm
    renderer.sections.__class__ = _Poisoned
    rendered = renderer.render([good[0], (StreamSpec(seed=666), BLOCK), good[1]])
    assert rendered.silenced == (1,)
    assert np.array_equal(rendered.pcm[[0, 2]], clean)
    assert not rendered.pcm[1].any()
    assert rendered.peak[1] == rendered.rms[1] == 0.0
    # Their next blocks are sound again.
    assert renderer.render([(spec, BLOCK + 1) for spec, _ in good]).silenced == ()


def test_a_stream_that_is_not_a_number_is_silenced_and_its_neighbours_keep_their_bytes(eager: Renderer) -> None:
    _check_nan_is_silenced(eager)


@pytest.mark.timeout(BUILD_TIMEOUT_S)
@pytest.mark.usefixtures("compiled_kernels")
def test_compiled_kernels_silence_it_too() -> None:
    renderer = Renderer(CPU, max_streams=8)
    _check_nan_is_silenced(renderer)
    renderer.close()


def test_peak_and_rms_are_those_of_the_samples(renderer: Renderer) -> None:
    rendered = renderer.render(MIXED[:2])
    for row in range(2):
        sound = as_sound(rendered.pcm[row])
        assert rendered.peak[row] == pytest.approx(np.abs(sound).max(), abs=0.02)
        assert rendered.rms[row] == pytest.approx(np.sqrt((sound**2).mean()), rel=0.05)


def test_the_chords_of_a_block_say_where_they_begin() -> None:
    renderer = Renderer(
        CPU,
        enable_compile=False,
        compose=score([(0.0, 9.0, 60.0, 0.0, Layer.PAD)], chords=[(0.0, "Am9"), (3.42, "F6"), (3.97, "G")]),
        max_streams=4,
    )
    first = SECTION_END
    chords = renderer.render([(StreamSpec(), first + second) for second in (0, 2, 3, 4)]).chords
    assert chords == (
        (Chord(0, "Am9"),),
        (Chord(0, "Am9"),),
        (Chord(0, "Am9"), Chord(4, "F6"), Chord(9, "G")),
        (Chord(0, "G"),),
    )


def test_samples_can_be_rendered_into_a_buffer_of_the_callers(renderer: Renderer) -> None:
    buffer = np.full((4, 10, 4_410, 2), 99, dtype=np.int16)
    rendered = renderer.render(MIXED[:2], buffer)
    assert np.shares_memory(rendered.pcm, buffer)
    assert np.array_equal(buffer[:2], renderer.render(MIXED[:2]).pcm)
    assert (buffer[2:] == 99).all()


def test_what_is_kept_for_a_stream_stays_small(renderer: Renderer) -> None:
    for block in range(BLOCK, BLOCK + 10):
        rendered: RenderedBatch = renderer.render([(StreamSpec(), block)])
    assert sum((StreamSpec().stream_id, block) in renderer._sends for block in range(BLOCK, BLOCK + 10)) <= PARTS
    # Going on from the block before needs nothing rendered again.
    assert rendered.history == 0
    assert renderer.render([(StreamSpec(), BLOCK + 100)]).history > 0


def test_sound_is_stereo_within_limits_and_never_silent(renderer: Renderer) -> None:
    specs = [StreamSpec(preset=preset, intensity_steps=10, key="E") for preset in PRESETS]
    rendered = renderer.render([(spec, BLOCK + 5) for spec in specs])
    for row, preset in enumerate(PRESETS):
        sound = as_sound(rendered.pcm[row])
        quarters = np.sqrt((sound.reshape(4, -1) ** 2).mean(axis=1))
        assert quarters.min() > 0.005, f"{preset}: silence"
        assert np.abs(sound).max() < 0.9, preset
        assert abs(sound.mean()) < 1e-3, preset
        left, right = sound.T
        assert np.sqrt(((left - right) ** 2).mean()) > 0.02 * np.sqrt((sound**2).mean()), f"{preset}: mono"


def test_groups_of_equal_cost_keep_the_order_and_the_bound_and_let_all_threads_end_together() -> None:
    random = np.random.default_rng(4)
    for count in (0, 1, 2, 3, 8, 47, 64, 256):
        for threads in (1, 2, 5):
            costs = np.sort(random.uniform(200.0, 600.0, count))[::-1].tolist()
            groups = equal_shares(list(range(count)), costs, most=24, threads=threads)
            assert [item for group in groups for item in group] == list(range(count))
            assert all(0 < len(group) <= 24 for group in groups)
            if count >= 8 * threads:
                # Each thread takes the next group when it is free.
                busy = [0.0] * threads
                for group in groups:
                    busy[busy.index(min(busy))] += sum(costs[item] for item in group)
                assert max(busy) < 1.15 * sum(costs) / threads, (count, threads)


def test_frames_in_pairs_are_put_in_their_places() -> None:
    expected = np.arange(44_100, dtype=np.int32) - 20_000
    pairs = np.ascontiguousarray(expected.view(np.int64).reshape(-1, 2).T)
    frames = np.empty(44_100, dtype=np.int32)
    interleave(pairs, frames)
    assert np.array_equal(frames, expected)


def test_rows_share_a_call_for_bright_partials_while_little_is_padded() -> None:
    assert bright_slices([]) == []
    assert bright_slices([7]) == [slice(0, 1)]
    assert bright_slices([40, 38, 20, 9, 8, 1]) == [slice(0, 4), slice(4, 6)]
    counts = sorted(np.random.default_rng(3).integers(1, 60, 64).tolist(), reverse=True)
    slices = bright_slices(counts)
    assert [count for part in slices for count in counts[part]] == counts
    assert sum(counts[part][0] * len(counts[part]) for part in slices) < 1.5 * sum(counts)
