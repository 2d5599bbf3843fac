"""The stand-in for a GPU: it computes as the CPU does, and refuses what CUDA refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.conftest import tiny_vit
from tests.devices.fake_cuda import CUDA, MismatchError, OnCuda, fake_cuda


@pytest.fixture(autouse=True)
def on_gpu() -> Iterator[None]:
    with fake_cuda():
        yield


def there(*shape: int) -> Tensor:
    return torch.ones(*shape).to("cuda")


REFUSED: dict[str, Callable[[], object]] = {
    "sum": lambda: there(3) + torch.ones(3),
    "number of the GPU": lambda: there(1)[0] + torch.ones(3),
    "product": lambda: there(2, 3) @ torch.ones(3, 2),
    "cat": lambda: torch.cat([there(2), torch.ones(2)]),
    "stack of numbers": lambda: torch.stack([there(1)[0], torch.tensor(1.0)]),
    "gather": lambda: there(2, 3).gather(1, torch.zeros(2, 1, dtype=torch.int64)),
    "where": lambda: torch.where(torch.ones(3, dtype=torch.bool), there(3), 0.0),
    "index from the GPU": lambda: torch.ones(3)[torch.tensor([0], device="cuda")],
    "values of an index": lambda: there(3).__setitem__(torch.tensor([0, 1]), torch.ones(2)),
    "inside a function of torch": lambda: torch.nn.functional.interpolate(there(1, 1, 2, 2), 4) + torch.ones(4, 4),
    "module": lambda: torch.nn.Linear(3, 2).to("cuda")(torch.ones(1, 3)),
    "index from the CPU": lambda: there(3)[torch.tensor([0, 2])],
    "mask from the CPU": lambda: there(3)[torch.ones(3, dtype=torch.bool)],
    "copy up": lambda: there(3).copy_(torch.ones(3)),
    "copy down": lambda: torch.ones(3).copy_(there(3)),
    "values of a slice": lambda: _set(there(3), slice(0, 2), torch.zeros(2)),
    "into a number of the CPU": lambda: torch.zeros(()).add_(there(1)[0]),
    "gradient": lambda: setattr(torch.ones(3, requires_grad=True), "grad", there(3)),
    "out": lambda: torch.add(there(3), 1, out=torch.empty(3)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_two_devices_do_not_meet(name: str) -> None:
    with pytest.raises(MismatchError):
        REFUSED[name]()


ALLOWED: dict[str, Callable[[], Tensor]] = {
    "a number of the CPU": lambda: there(3) * torch.tensor(2.0),
    "index": lambda: there(3)[torch.tensor([0, 2], device="cuda")],
    "copy in place": lambda: torch.empty(3, device="cuda").copy_(there(3)),
    "values of a slice": lambda: _set(there(3), slice(0, 2), there(2)),
    "new tensor": lambda: there(3).new_zeros(3) + there(3).new_tensor([1.0, 2.0, 3.0]),
    "one hot": lambda: torch.nn.functional.one_hot(torch.tensor([0, 2], device="cuda"), 3) + there(3),
    "like": lambda: torch.zeros_like(there(3)) + torch.arange(3, device=there(3).device),
    "in place": lambda: there(3).add_(1).mul_(2).clamp_(0, 3),
    "view": lambda: there(2, 3).view(3, 2).T.flatten()[1:],
    "split": lambda: there(4, 2).split(2)[1] + there(4).unflatten(0, (2, 2)).max(1).values,
}


def test_numbers_divide_as_on_cuda() -> None:
    """CUDA multiplies by the rounded 1/255, where a tensor of the GPU divides right."""
    levels = torch.arange(256).float()
    by_number, by_scalar = levels.to("cuda") / 255, levels.to("cuda") / torch.tensor(255.0)
    assert 0 < int((by_number.cpu() != levels / 255).sum()) == int((by_scalar.cpu() != levels / 255).sum())
    assert torch.equal((levels.to("cuda") / torch.tensor(255.0, device="cuda")).cpu(), levels / 255)
    assert f"{there(1)[0]:.1f}" == "1.0"


def _set(tensor: Tensor, place: slice, values: Tensor) -> Tensor:
    tensor[place] = values
    return tensor


@pytest.mark.parametrize("name", ALLOWED)
def test_what_cuda_allows_stays_on_the_gpu(name: str) -> None:
    found = ALLOWED[name]()
    assert isinstance(found, OnCuda)
    assert found.device == CUDA
    assert found.is_cuda
    assert found.cpu().device.type == "cpu"


def test_numpy_takes_no_tensor_of_the_gpu() -> None:
    for take in (lambda x: x.numpy(), np.asarray, lambda x: np.stack([x])):
        with pytest.raises(TypeError, match="can't convert cuda:0"):
            take(there(3))
    assert there(3).cpu().numpy().tolist() == there(3).tolist() == [1, 1, 1]
    assert float(there(1)) == 1


def test_a_copy_shares_nothing_with_its_source() -> None:
    source = torch.zeros(3)
    moved = source.to("cuda")
    back = moved.cpu()
    moved += 1
    assert source.tolist() == back.tolist() == [0, 0, 0]
    assert moved.to(CUDA) is moved
    assert source.to("cpu") is source
    assert source.to(moved).dtype == source.to("cuda", torch.float32).dtype == torch.float32
    assert source.pin_memory().to("cuda", non_blocking=True).device == CUDA
    with pytest.raises(RuntimeError, match="cannot pin"):
        moved.pin_memory()


def test_gradients_go_through_copies_twice() -> None:
    """y = (2x)³, of which the derivatives at 1 are 24 and 48."""
    leaf = torch.ones(2, requires_grad=True)
    cube = (leaf.to("cuda") * 2).pow(3).sum()
    (first,) = torch.autograd.grad(cube, leaf, create_graph=True)
    assert not isinstance(first, OnCuda)
    assert first.tolist() == [24, 24]
    (second,) = torch.autograd.grad(first.sum(), leaf)
    assert second.tolist() == [48, 48]
    there = torch.ones(2, device="cuda", requires_grad=True)
    (there * 3).sum().cpu().backward()
    assert isinstance(there.grad, OnCuda)
    assert there.grad.tolist() == [3, 3]


def test_a_network_moves_there_and_back() -> None:
    classifier = tiny_vit()
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = classifier(images)
    moved = classifier.to("cuda")
    assert all(p.is_cuda and isinstance(p, torch.nn.Parameter) and not p.requires_grad for p in moved.parameters())
    with torch.inference_mode():
        found = moved(images.to("cuda"))
    assert torch.equal(found.cpu(), expected)
    assert {p.device.type for p in moved.cpu().parameters()} == {"cpu"}
    with torch.inference_mode():
        assert torch.equal(moved(images), expected)
