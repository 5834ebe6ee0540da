from __future__ import annotations

import torch

from services.synthesis.dsp.noise import triangular


def test_noise_belongs_to_the_frame_and_goes_on_where_its_32_bit_counter_wraps() -> None:
    seed = torch.tensor(7, dtype=torch.int32)
    before = torch.arange(2**31 - 500, 2**31, dtype=torch.int64).to(torch.int32)
    after = torch.arange(-(2**31), -(2**31) + 500, dtype=torch.int64).to(torch.int32)
    both = triangular(torch.cat((before, after)), seed)
    assert torch.equal(both[:500], triangular(before, seed))
    assert torch.equal(both[500:], triangular(after, seed))
    assert not torch.equal(both[:500], both[500:])


def test_triangular_noise_stays_within_one_step_and_is_centred() -> None:
    noise = triangular(torch.arange(200_000, dtype=torch.int32), torch.tensor(7, dtype=torch.int32)).numpy()
    assert noise.max() < 1.0
    assert noise.min() > -1.0
    assert abs(noise.mean()) < 0.002
    assert abs(noise.std() - 6**-0.5) < 0.002
