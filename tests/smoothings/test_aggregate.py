from __future__ import annotations

import numpy as np
import pytest
import torch

from vitfaith.errors import ConfigError, InputError
from vitfaith.map_values import map_flags, unit_range
from vitfaith.smoothings.aggregate import aggregate_maps


@pytest.fixture
def maps() -> torch.Tensor:
    return torch.randn(4, 3, 5, 6, generator=torch.Generator().manual_seed(2))


def textbook_normalise(grid: np.ndarray) -> np.ndarray:
    low, high = grid.min(), grid.max()
    return np.zeros_like(grid) if high == low else (grid - low) / (high - low)


def test_mean_and_spread_against_the_textbook(maps: torch.Tensor) -> None:
    mean, spread = aggregate_maps(maps, "mean")
    for b in range(3):
        scaled = [textbook_normalise(maps[s, b].double().numpy()) for s in range(4)]
        assert np.allclose(mean[b].numpy(), sum(scaled) / 4, atol=1e-6)
        assert np.allclose(spread[b].numpy(), np.std(scaled, axis=0, ddof=1), atol=1e-6)


def test_percentile_max_against_the_textbook(maps: torch.Tensor) -> None:
    result, _ = aggregate_maps(maps, "percentile_max")
    for b in range(3):
        fused = np.zeros((5, 6))
        for s in range(4):
            scaled = textbook_normalise(maps[s, b].numpy())
            limit = np.percentile(scaled, 10)
            for index in np.ndindex(5, 6):
                value = 0.0 if scaled[index] < limit else float(scaled[index])
                fused[index] = max(fused[index], value)
        assert np.allclose(result[b].numpy(), fused, atol=1e-6)


def test_by_hand() -> None:
    maps = torch.tensor([[[[0.0, 2.0, 1.0, 1.0]]], [[[7.0, 5.0, 6.0, 5.0]]]])
    mean, spread = aggregate_maps(maps, "mean")
    assert mean.tolist() == [[[0.5, 0.5, 0.5, 0.25]]]
    assert spread[0, 0, 0] == pytest.approx(0.5**0.5)
    assert aggregate_maps(maps[:1], "mean")[1].tolist() == [[[0.0] * 4]]


def test_constant_maps_count_as_zeros_and_are_seen() -> None:
    maps = torch.tensor([[[[3.0, 3.0]], [[0.0, 1.0]]], [[[3.0, 3.0]], [[4.0, 4.0]]]])
    assert [map_flags(sample) for sample in maps] == [["constant", ""], ["constant", "constant"]]
    for how in ("mean", "percentile_max"):
        result, spread = aggregate_maps(maps, how)  # type: ignore[arg-type]
        assert result[0].tolist() == [[0.0, 0.0]]
        assert map_flags(result) == ["constant", ""]
        assert not spread[0].any()
    assert aggregate_maps(maps, "mean")[0][1].tolist() == [[0.0, 0.5]]


def test_nan_reaches_the_result_of_its_image_alone(maps: torch.Tensor) -> None:
    maps[2, 1, 0, 0] = float("nan")
    for how in ("mean", "percentile_max"):
        result, _ = aggregate_maps(maps, how)  # type: ignore[arg-type]
        assert bool(result[1].isnan().all())
        assert not bool(result[[0, 2]].isnan().any())
    assert map_flags(maps[2]) == ["", "nan", ""]


def test_scale_and_order_of_samples_do_not_count(maps: torch.Tensor) -> None:
    scale, shift = torch.rand(4, 3, 1, 1) + 0.5, torch.randn(4, 3, 1, 1)
    for how in ("mean", "percentile_max"):
        base = aggregate_maps(maps, how)[0]  # type: ignore[arg-type]
        moved = aggregate_maps((maps * scale + shift)[[2, 0, 3, 1]], how)[0]  # type: ignore[arg-type]
        assert torch.allclose(base, moved, atol=1e-5)
    assert torch.equal(unit_range(maps).amax((-2, -1)), torch.ones(4, 3))


def test_bad_arguments(maps: torch.Tensor) -> None:
    with pytest.raises(InputError, match="samples"):
        aggregate_maps(maps[0], "mean")
    with pytest.raises(ConfigError, match="unknown aggregation"):
        aggregate_maps(maps, "median")  # type: ignore[arg-type]
