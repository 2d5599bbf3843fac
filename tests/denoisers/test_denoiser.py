from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from diffusers import DDPMScheduler
from safetensors.torch import load_file, save_file
from torch import Tensor

from vitfaith.denoisers.denoiser import Denoiser
from vitfaith.denoisers.schedule import Schedule
from vitfaith.errors import ArtifactError, ConfigError, InputError

from .conftest import tiny_unet


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_unet(3).save_pretrained(tmp_path / "unet", safe_serialization=True)
    DDPMScheduler(variance_type="fixed_large").save_pretrained(tmp_path / "scheduler")
    return tmp_path


def test_loads_what_diffusers_saved(folder: Path, images: Tensor) -> None:
    loaded = Denoiser.load(folder)
    noisy = 2 * images - 1
    expected = Denoiser(tiny_unet(3), Schedule.from_config({})).predict_clean(noisy, 100)[0]
    assert torch.equal(loaded.predict_clean(noisy, 100)[0], expected)
    assert loaded.schedule.variance == "fixed_large"
    assert loaded.size == (16, 16)
    assert loaded.divisor == 2
    assert not loaded.network.training
    assert not any(p.requires_grad for p in loaded.network.parameters())


def test_a_flat_folder_loads_too(folder: Path) -> None:
    for file in [*(folder / "unet").iterdir(), *(folder / "scheduler").iterdir()]:
        file.rename(folder / file.name)
    (folder / "unet").rmdir()
    (folder / "scheduler").rmdir()
    assert Denoiser.load(str(folder)).channels == 3


def test_missing_and_broken_files_are_named(folder: Path) -> None:
    with pytest.raises(ArtifactError, match="does not exist"):
        Denoiser.load(folder / "nothing")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    kept = weights.read_bytes()
    weights.write_bytes(kept[: len(kept) // 2])
    with pytest.raises(ArtifactError, match=r"weights in '.*unet' cannot be loaded"):
        Denoiser.load(folder)
    weights.unlink()
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(ArtifactError, match="only safetensors weights are read"):
        Denoiser.load(folder)
    weights.write_bytes(kept)
    (folder / "scheduler" / "scheduler_config.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"scheduler_config\.json' cannot be read"):
        Denoiser.load(folder)


def test_schedulers_that_are_none_are_refused_from_the_file(folder: Path) -> None:
    file = folder / "scheduler" / "scheduler_config.json"
    for config, message in (
        ({"_class_name": "KarrasVeScheduler", "sigma_max": 100}, "KarrasVeScheduler has no β-schedule"),
        ({"num_train_timesteps": 1000}, r"scheduler_config\.json' names no scheduler \(_class_name\) and no betas"),
    ):
        file.write_text(json.dumps(config))
        for shapes_only in (False, True):
            with pytest.raises(ConfigError, match=message):
                Denoiser.load(folder, shapes_only=shapes_only)


def test_a_network_that_is_told_noise_levels_is_refused() -> None:
    network = tiny_unet()
    network.register_to_config(time_embedding_type="fourier")
    with pytest.raises(ConfigError, match=r"takes a noise level instead of a timestep \(time_embedding_type fourier\)"):
        Denoiser(network, Schedule.from_config({}))


def test_a_hub_id_is_downloaded_without_pickles(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: list[tuple[str, list[str]]] = []

    def download(name: str, allow_patterns: list[str]) -> str:
        asked.append((name, allow_patterns))
        if name == "someone/nothing":
            raise OSError("404")
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert Denoiser.load("someone/denoiser").channels == 3
    assert asked == [("someone/denoiser", ["*.json", "*diffusion_pytorch_model.safetensors"])]
    with pytest.raises(ArtifactError, match="hub does not provide it: 404"):
        Denoiser.load("someone/nothing")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"block_out_channels": [8, 24]}, "cannot be loaded|do not fit"),
        ({"layers_per_block": 2}, "cannot be loaded|do not fit"),
        ({"_class_name": "UNet2DConditionModel"}, "only UNet2DModel"),
    ],
)
def test_weights_that_do_not_fit_are_an_error(folder: Path, change: dict[str, object], message: str) -> None:
    file = folder / "unet" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises((ArtifactError, ConfigError), match=message):
        Denoiser.load(folder)


def test_a_missing_tensor_is_named(folder: Path) -> None:
    """diffusers itself would fill it with random numbers and only warn."""
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    state = load_file(file)
    del state["conv_out.weight"]
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(ArtifactError, match=r"do not fit config\.json: missing keys conv_out\.weight"):
        Denoiser.load(folder)


def test_networks_that_are_no_denoisers() -> None:
    with pytest.raises(ConfigError, match="maps 3 channels to 5"):
        Denoiser(tiny_unet(outputs=5), Schedule.from_config({}))


def test_wrong_shapes_are_named(denoiser: Denoiser) -> None:
    with pytest.raises(InputError, match=r"takes 3 channel\(s\), the images have 1"):
        denoiser.check_shape(1, 16, 16)
    with pytest.raises(InputError, match="multiples of 2; set size: network"):
        denoiser.check_shape(3, 15, 16)
    denoiser.check_shape(3, 18, 22)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("timestep", [1, 145, 700])
def test_clean_prediction_is_that_of_diffusers(prediction: str, timestep: int, images: Tensor) -> None:
    config = {"prediction_type": prediction}
    denoiser = Denoiser(tiny_unet(), Schedule.from_config(config))
    reference = DDPMScheduler(**config)  # type: ignore[arg-type]
    clean = 2 * images - 1
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    noisy = denoiser.add_noise(clean, noise, timestep)
    steps = torch.full((len(clean),), timestep)
    assert torch.allclose(noisy, reference.add_noise(clean, noise, steps), atol=1e-5)  # type: ignore[arg-type]
    with torch.no_grad():
        ours, variance = denoiser.predict_clean(noisy, timestep)
        theirs = reference.step(denoiser.network(noisy, steps).sample, timestep, noisy).pred_original_sample
    assert variance is None
    # 1/√ᾱ multiplies float32 rounding of the output: about 70 at timestep 700
    assert torch.allclose(ours, theirs, atol=2e-5 / denoiser.schedule.signal(timestep))


def test_clean_prediction_against_float64(denoiser: Denoiser, images: Tensor) -> None:
    timestep = 145
    noisy = 2 * images - 1
    with torch.no_grad():
        output = denoiser.network(noisy, torch.full((5,), timestep)).sample.double()
        ours, _ = denoiser.predict_clean(noisy, timestep, clip=False)
    alpha_bar = 1.0
    for i in range(timestep + 1):
        alpha_bar *= 1 - (1e-4 + (0.02 - 1e-4) * i / 999)
    textbook = (noisy.double() - (1 - alpha_bar) ** 0.5 * output) / alpha_bar**0.5
    assert float((ours - textbook).abs().max()) <= 1e-5


def test_learned_variance_is_kept_apart(learned: Denoiser, images: Tensor) -> None:
    with torch.no_grad():
        clean, variance = learned.predict_clean(2 * images - 1, 50, clip=False)
        output = learned.network(2 * images - 1, torch.full((5,), 50)).sample
    assert variance is not None
    assert torch.equal(variance, output[:, 3:])
    expected = (2 * images - 1 - learned.schedule.noise(50) * output[:, :3]) / learned.schedule.signal(50)
    assert torch.allclose(clean, expected)


def test_grey_images_and_bfloat16() -> None:
    grey = Denoiser(tiny_unet(channels=1), Schedule.from_config({}))
    noisy = torch.rand(2, 1, 28, 28)
    with torch.no_grad():
        exact, _ = grey.predict_clean(noisy, 20)
        grey.network.bfloat16()
        rough, _ = grey.predict_clean(noisy, 20)
    assert rough.dtype == torch.float32
    assert float((exact - rough).abs().max()) < 0.02


def test_no_image_left_to_predict() -> None:
    schedule = Schedule.from_config({"rescale_betas_zero_snr": True, "num_train_timesteps": 10})
    with pytest.raises(ConfigError, match="timestep 9 holds no image"), torch.no_grad():
        Denoiser(tiny_unet(), schedule).predict_clean(torch.zeros(1, 3, 16, 16), 9)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("timestep", [1, 145, 700])
def test_what_the_network_predicts_in_closed_form(prediction: str, timestep: int) -> None:
    """A network that is right gives back the image: x_t = √ᾱ x + √(1−ᾱ) ε and v = √ᾱ ε − √(1−ᾱ) x, in float64."""
    source = torch.Generator().manual_seed(timestep)
    clean = torch.rand(2, 3, 16, 16, generator=source, dtype=torch.float64) * 1.9 - 0.95
    noise = torch.randn(clean.shape, generator=source, dtype=torch.float64)
    bar = 1.0
    for i in range(timestep + 1):
        bar *= 1 - (1e-4 + (0.02 - 1e-4) * i / 999)
    outputs = {"epsilon": noise, "v_prediction": bar**0.5 * noise - (1 - bar) ** 0.5 * clean, "sample": clean}
    network = Stub(outputs[prediction].float())
    denoiser = Denoiser(network, Schedule.from_config({"prediction_type": prediction}))
    noisy = (bar**0.5 * clean + (1 - bar) ** 0.5 * noise).float()
    found, _ = denoiser.predict_clean(noisy, timestep)
    assert float((found - clean).abs().max()) <= 1e-6 / bar**0.5
    assert network.told == [timestep] * 2


class Stub(torch.nn.Module):
    """Answers what it was given, and remembers what it is told."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = torch.nn.Parameter(answer)
        self.config = SimpleNamespace(
            in_channels=3,
            out_channels=3,
            class_embed_type=None,
            num_class_embeds=None,
            sample_size=16,
            block_out_channels=(8, 16),
        )
        self.told: list[int] = []

    def forward(self, noisy: Tensor, timesteps: Tensor) -> SimpleNamespace:
        self.told = timesteps.tolist()
        return SimpleNamespace(sample=self.answer)


def test_shapes_alone_can_be_checked(folder: Path) -> None:
    """What `vitfaith check` does: no weights are read, and the same errors come."""
    found = Denoiser.load(folder, shapes_only=True)
    assert all(p.is_meta for p in found.network.parameters())
    assert (found.size, found.divisor, found.channels) == ((16, 16), 2, 3)
    file = folder / "unet" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"block_out_channels": [8, 32]}))
    with pytest.raises(ArtifactError, match=r"do not fit config\.json: .* of another shape"):
        Denoiser.load(folder, shapes_only=True)


def test_unconditional_denoisers_take_no_class(folder: Path) -> None:
    with pytest.raises(ConfigError, match="is unconditional; remove class_label"):
        Denoiser.load(folder, {"format": "diffusers", "class_label": 3})


@pytest.mark.parametrize(
    ("channels", "size", "images"),
    [
        ((256, 256, 512, 512, 1024, 1024), (256, 256), 63),  # the published one: 512 channels at full size, 2²⁵ numbers
        ((8, 16), (16, 16), 2**31 // (24 * 256)),
        ((8, 16), (2**14, 2**14), 1),  # one image is always tried
    ],
)
def test_a_batch_stays_below_what_32_bits_count(
    channels: tuple[int, ...], size: tuple[int, int], images: int, denoiser: Denoiser, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SimpleNamespace(block_out_channels=channels)
    monkeypatch.setattr(denoiser, "network", SimpleNamespace(config=config))
    assert denoiser.most_at_once(size) == images
