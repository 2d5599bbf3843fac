"""Copies between the CPU and a GPU: on the CPU nothing is copied, on a GPU one batch is on its way while the next is made."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from unittest import mock

import torch
from torch import Tensor

from tests.devices.fake_cuda import CUDA, fake_cuda
from vitfaith.artifacts.tensors import unit_pixels
from vitfaith.transfer import Download, arriving, upload


def test_on_a_cpu_nothing_is_copied() -> None:
    tensor = torch.arange(6.0).view(2, 3)
    assert upload(tensor, "cpu") is tensor
    assert Download(tensor).get() is tensor
    assert [
        (rows, part.tolist()) for rows, part in arriving([(slice(0, 1), tensor[:1]), (slice(1, 2), tensor[1:])])
    ] == [
        (slice(0, 1), [[0, 1, 2]]),
        (slice(1, 2), [[3, 4, 5]]),
    ]
    assert list(arriving([])) == []


def test_to_a_gpu_through_pinned_memory() -> None:
    pinned: list[Tensor] = []

    def pin(tensor: Tensor) -> Tensor:
        pinned.append(tensor)
        return tensor.clone()

    with fake_cuda(), mock.patch.object(torch.Tensor, "pin_memory", pin):
        tensor = torch.arange(3.0)
        there = upload(tensor, torch.device("cuda"))
        assert there.device == CUDA
        assert there.tolist() == [0, 1, 2]
        assert upload(there, "cuda") is there
        assert upload(there, "cpu").tolist() == [0, 1, 2]
    assert len(pinned) == 1
    assert pinned[0] is tensor


def test_a_batch_is_waited_for_after_the_next_one_was_started() -> None:
    log: list[str] = []

    def batches() -> Iterator[tuple[slice, Tensor]]:
        for index in range(3):
            log.append(f"start {index}")
            yield slice(index, index + 1), torch.full((1,), float(index), device="cuda")

    class Event(SimpleNamespace):
        made = 0

        def record(self) -> None:
            self.index = Event.made
            Event.made += 1
            log.append(f"queue copy {self.index}")

        def synchronize(self) -> None:
            log.append(f"wait for {self.index}")

    with fake_cuda(), mock.patch.object(torch.cuda, "Event", Event):
        found = [(rows.start, float(part), part.device.type) for rows, part in arriving(batches())]
    assert found == [(i, i, "cpu") for i in range(3)]
    assert log == [
        "start 0", "queue copy 0",
        "start 1", "queue copy 1", "wait for 0",
        "start 2", "queue copy 2", "wait for 1", "wait for 2",
    ]  # fmt: skip


def test_grey_levels_become_the_quotient_that_numpy_gives() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    expected = levels.numpy().astype("float32") / 255
    for kind in (torch.uint8, torch.int64):
        assert unit_pixels(levels.to(kind)).numpy().tobytes() == expected.tobytes()
