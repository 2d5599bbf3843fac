from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import vitfaith.attack.attacks  # noqa: F401
from vitfaith.attack.catalogue import signatures
from vitfaith.attack.registry import ATTACKS
from vitfaith.errors import ConfigError


def test_import_is_free_of_torch() -> None:
    code = "import sys, vitfaith.attack.attacks; assert not {'torch', 'torchattacks', 'timm'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["fgsm", "pgd", "mi_fgsm", "apgd", "autoattack"])
def test_eps_in_levels_is_refused_with_the_fraction(name: str) -> None:
    with pytest.raises(ConfigError, match=r"eps is in \[0,1\] pixel units; did you mean 8/255\?"):
        ATTACKS[name].parameters.model_validate({"eps": 8})


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
