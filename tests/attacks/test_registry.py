from __future__ import annotations

import inspect
import subprocess
import sys

import pytest
import torch
from pydantic import ValidationError

from vitfaith.attacks.catalogue import signatures
from vitfaith.attacks.prediction import autoattack_parts, torchattacks_object
from vitfaith.attacks.registry import ATTACKS, Bound, attack
from vitfaith.attacks.run import attack_images
from vitfaith.errors import ConfigError
from vitfaith.registry import Parameters
from vitfaith.study.load import instance

from ..conftest import tiny_vit


def test_import_is_free_of_torch() -> None:
    code = "import sys, vitfaith.attacks; assert not {'torch', 'torchattacks', 'timm'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["fgsm", "pgd", "mi_fgsm", "apgd", "autoattack"])
def test_eps_in_levels_is_refused_with_the_fraction(name: str) -> None:
    with pytest.raises(ConfigError, match=r"eps is in \[0,1\] pixel units; did you mean 8/255\?"):
        ATTACKS[name].parameters.model_validate({"eps": 8})


BELOW = r"below one grey level, 1/255 = 0\.003922: stored images could not change .*; give at least 1/255"


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        *((name, {}) for name in ("fgsm", "pgd", "pgd_l2", "mi_fgsm", "apgd", "autoattack")),
        *((name, {}) for name in ("top_k_attack", "mass_centre_attack", "manipulation")),
        ("adaptive_pgd", {"through": "dds"}),
        *((name, {"norm": "l2"}) for name in ("apgd", "autoattack")),
    ],
)
def test_eps_below_one_grey_level_is_refused(name: str, settings: dict[str, object]) -> None:
    """Truncation would store the clean image; in l2 as well, where one level of one pixel has length 1/255."""
    parameters = ATTACKS[name].parameters
    for eps in (0.99 / 255, 0.5 / 255, 1e-6):
        with pytest.raises(ConfigError, match=BELOW):
            parameters.model_validate({**settings, "eps": eps})
    for eps in (0.0, -1.0):
        with pytest.raises((ConfigError, ValidationError), match=r"must be positive|greater than 0"):
            parameters.model_validate({**settings, "eps": eps})
    parameters.model_validate({**settings, "eps": 1 / 255})
    parameters.model_validate({**settings, "eps": 0.003921569})  # 1/255 as decimals


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("PGD", {"eps": 0.003}),
        ("PIFGSM", {"max_epsilon": 0.003}),
        ("PGDL2", {"eps": 0.003}),
        ("APGD", {"norm": "L2", "eps": 0.003}),
        ("FAB", {"norm": "L1", "eps": 0.003}),
    ],
)
def test_generic_attacks_refuse_eps_below_one_grey_level(name: str, arguments: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=BELOW):
        ATTACKS["torchattacks"].parameters.model_validate({"name": name, "arguments": arguments})


@pytest.mark.parametrize(("name", "argument"), [("PGD", "eps"), ("FAB", "eps"), ("PIFGSM", "max_epsilon")])
@pytest.mark.parametrize("value", [None, True, "0.5", [0.5]])
def test_generic_attacks_refuse_a_radius_that_is_no_number(name: str, argument: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"{name}: {argument} is .*give a number"):
        ATTACKS["torchattacks"].parameters.model_validate({"name": name, "arguments": {argument: value}})


def test_a_configuration_with_eps_below_one_grey_level_is_refused() -> None:
    with pytest.raises(ConfigError, match=rf"attacks\.weak.*{BELOW}"):
        instance("attacks", "weak", {"attack": "pgd", "eps": 0.002})


def test_a_plugin_with_a_bound_below_one_grey_level_is_refused() -> None:
    @attack("test_weak", citation="", bound=lambda _p: Bound("l2", 0.003))
    def weak(classifier: object, images: object, targets: object, parameters: Parameters) -> object:
        raise AssertionError("must not run")

    try:
        with pytest.raises(ConfigError, match=rf"attacks\.mine: .*{BELOW}"):
            instance("attacks", "mine", {"attack": "test_weak"})
        with pytest.raises(ConfigError, match=BELOW):
            attack_images(
                tiny_vit(), torch.zeros(1, 3, 16, 16), torch.zeros(1).long(), ["a"], ATTACKS.item("test_weak"), seed=0
            )
    finally:
        del ATTACKS._entries["test_weak"]


def test_torchattacks_autoattack_is_not_taken_for_the_published_one() -> None:
    with pytest.raises(ConfigError, match=r"APGD and FAB stop at 10 of 100 steps.*use the attack 'autoattack'"):
        ATTACKS["torchattacks"].parameters.model_validate({"name": "AutoAttack"})


def test_autoattack_has_the_settings_of_the_published_one() -> None:
    """Attribute by attribute against the authors' code, as packaged in pyautoattack."""
    from pyautoattack import AutoAttack

    model = tiny_vit(num_classes=12)
    for norm, theirs in (("linf", "Linf"), ("l2", "L2")):
        reference = AutoAttack(model, norm=theirs, eps=0.5, version="standard", device="cpu", seed=0)
        assert reference.attacks_to_run == ["apgd-ce", "apgd-t", "fab-t", "square"]
        parameters = ATTACKS["autoattack"].parameters.model_validate({"norm": norm, "eps": 0.5})
        ours = [torchattacks_object(model, *part) for part in autoattack_parts(parameters)]
        assert [type(part).__name__ for part in ours] == ["APGD", "APGDT", "FAB", "Square"]
        peers = (reference.apgd, reference.apgd_targeted, reference.fab, reference.square)
        same = {"n_iter": "steps"}
        shared = [
            ("n_iter", "n_restarts", "eot_iter", "thr_decr", "eps", "norm"),
            ("n_iter", "n_restarts", "eot_iter", "thr_decr", "eps", "norm", "n_target_classes"),
            ("n_iter", "n_restarts", "eps", "norm", "alpha_max", "eta", "beta", "n_target_classes"),
            ("n_queries", "n_restarts", "p_init", "loss", "rescale_schedule", "eps", "norm"),
        ]
        for part, peer, names in zip(ours, peers, shared, strict=True):
            found = {name: getattr(part, same.get(name, name)) for name in names}
            assert found == {name: getattr(peer, name) for name in names}
        assert ours[0].loss == "ce"
        assert ours[2].multi_targeted
        iterations = [*range(0, 60), 200, 201, 500, 501, 1000, 1001, 2000, 2001, 4000, 4001, 4999]
        assert [ours[3].p_selection(i) for i in iterations] == [reference.square.p_selection(i) for i in iterations]


def test_generic_attack_checks_eps_of_linf_classes_only() -> None:
    parameters = ATTACKS["torchattacks"].parameters
    with pytest.raises(ConfigError, match="did you mean 4/255"):
        parameters.model_validate({"name": "BIM", "arguments": {"eps": 4}})
    with pytest.raises(ConfigError, match="did you mean 16/255"):
        parameters.model_validate({"name": "PIFGSM", "arguments": {"max_epsilon": 16}})
    parameters.model_validate({"name": "PGDL2", "arguments": {"eps": 2.0}})


@pytest.mark.parametrize(
    ("attack", "arguments", "message"),
    [
        ("DIFGSMM", {}, "did you mean 'DIFGSM'"),
        ("LGV", {}, "has no attack 'LGV'"),
        ("DIFGSM", {"stepss": 3}, "takes no argument 'stepss'.*did you mean 'steps'"),
        ("APGD", {"seed": 3}, "'seed' comes from the study"),
        ("PGD", {"model": 3}, "'model' comes from the study"),
    ],
)
def test_unknown_class_or_argument(attack: str, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ATTACKS["torchattacks"].parameters.model_validate({"name": attack, "arguments": arguments})


def test_catalogue_is_what_the_classes_take() -> None:
    import torchattacks

    wrappers = {"MultiAttack", "LGV"}
    assert set(signatures()) == set(torchattacks.__all__) - wrappers
    for name, arguments in signatures().items():
        real = list(inspect.signature(getattr(torchattacks, name)).parameters.values())
        assert list(arguments) == [p.name for p in real]
        for parameter in real:
            if isinstance(parameter.default, (int, float, str, bool)):
                assert arguments[parameter.name] == parameter.default


def test_bounds_follow_the_arguments() -> None:
    def bound(attack: str, **arguments: object) -> tuple[str, float] | None:
        entry = ATTACKS["torchattacks"]
        found = entry.traits["bound"](entry.parameters.model_validate({"name": attack, "arguments": arguments}))
        return None if found is None else (found.norm, found.eps)

    assert bound("PGD") == ("linf", 8 / 255)
    assert bound("APGD", norm="L2", eps=0.7) == ("l2", 0.7)
    assert bound("PGDL2", eps=2.0) == ("l2", 2.0)
    assert bound("FAB", norm="L1") is None
    for unbounded in ("CW", "DeepFool", "OnePixel", "JSMA", "SparseFool", "EADL1", "Pixle", "GN"):
        assert bound(unbounded) is None
