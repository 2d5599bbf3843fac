"""The command line: listings from the registries, the check of a config, errors without tracebacks."""

from __future__ import annotations

import inspect
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

from vitfaith import stages
from vitfaith.artifacts.parts import StoppedEarlyError
from vitfaith.check.study import check_study
from vitfaith.cli.stage import OnDevice, OverShard, Stage
from vitfaith.cli.stages import STAGES
from vitfaith.errors import REPEATS, ArtifactError, ConfigError, DiskFullError, VitfaithError
from vitfaith.registries import DISCRIMINATORS, REGISTRIES

ROOT = Path(__file__).resolve().parent.parent
FETCHED = ("saco", "fvit", "stamps", "diffmask_cifar10")
"""Studies of images of the user's own, or fetched first: where these lack, nothing else may."""


def vitfaith(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "vitfaith", *arguments], cwd=cwd, capture_output=True, text=True)


@pytest.mark.parametrize("section", list(REGISTRIES))
def test_list_shows_every_registered_item_and_is_valid_json(section: str) -> None:
    rows = json.loads(vitfaith("list", section, "--json").stdout)
    assert [row[DISCRIMINATORS[section]] for row in rows] == REGISTRIES[section].names
    assert all(row["summary"] for row in rows)


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda path: path.stem)
def test_check_accepts_the_shipped_configs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    try:
        report = check_study(path)
    except ConfigError as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        assert path.stem in FETCHED
        assert all(re.search("do(es)? not exist|has no CITY", line) for line in lines), lines
    else:
        assert re.search(r"\d+ experiments?, \d+ conditions?$", report[0])


def test_check_prints_what_it_found() -> None:
    done = vitfaith("check", "config/tiny.yaml")
    assert done.returncode == 0, done.stderr
    assert re.search(r"\d+ experiments?, \d+ conditions?$", done.stdout, re.MULTILINE), done.stdout


def test_check_names_a_missing_file(tmp_path: Path) -> None:
    config = tmp_path / "study.yaml"
    config.write_text(
        (ROOT / "config" / "tiny.yaml").read_text().replace("vit_patch4.safetensors", "absent.safetensors")
    )
    done = vitfaith("check", str(config))
    assert done.returncode == 1
    assert "models.vit_patch4.weights: 'vitfaith:models/absent.safetensors' is no file that is shipped" in done.stderr
    assert "Traceback" not in done.stderr


SAVE_A_PDF = """
import io
import logging
import matplotlib
from matplotlib.figure import Figure
from vitfaith.cli.main import log_to_stderr

log_to_stderr()
matplotlib.rcParams["pdf.fonttype"] = 42
figure = Figure()
figure.text(0.5, 0.5, "a figure")
figure.savefig(io.BytesIO(), format="pdf")
for name in ("vitfaith.stages.figures", "fontTools.subset", "matplotlib", "PIL"):
    for level in (logging.DEBUG, logging.INFO, logging.WARNING):
        logging.getLogger(name).log(level, "something")
"""


def test_logs_hold_the_information_of_the_package_and_the_warnings_of_others() -> None:
    done = subprocess.run([sys.executable, "-c", SAVE_A_PDF], capture_output=True, text=True, check=True)
    assert [line.split(" ", 2)[2] for line in done.stderr.splitlines()] == [
        "INFO vitfaith.stages.figures: something",
        "WARNING vitfaith.stages.figures: something",
        "WARNING fontTools.subset: something",
        "WARNING matplotlib: something",
        "WARNING PIL: something",
    ]


def test_a_specification_that_is_no_json_is_said_plainly() -> None:
    done = vitfaith("shard", "--spec", "{", "--out", "x")
    assert done.returncode == REPEATS, "a retry would fail in the same way"
    assert done.stderr.startswith("error: --spec is not a JSON object")


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.verb)
def test_the_function_of_a_verb_takes_its_options(stage: Stage) -> None:
    given = dict.fromkeys([*stage.options, "code"])
    told = {*stage.told(given), "spec"}
    told |= {"device"} if isinstance(stage, OnDevice | OverShard) else set()
    told |= {"batch_size"} if isinstance(stage, OverShard) else set()
    inspect.signature(stage.load()).bind(**dict.fromkeys(told))


def test_every_stage_has_one_verb() -> None:
    modules = {f"vitfaith.stages.{m.name}" for m in pkgutil.iter_modules(stages.__path__)}
    entries = [stage.function.rpartition(".")[0] for stage in STAGES]
    assert sorted(entries) == sorted(modules)


def test_a_job_knows_its_files(tmp_path: Path) -> None:
    """Outputs hold the lock; networks are told apart by size and time, images and what is left out are not named."""
    weights, denoiser = tmp_path / "weights.safetensors", tmp_path / "denoiser"
    weights.write_bytes(b"1234")
    verbs = {stage.verb: stage for stage in STAGES}
    given = dict.fromkeys(verbs["score"].options) | {
        "spec": "{}",
        "code": "c",
        "scores": Path("s"),
        "curves": Path("d"),
    }
    given |= {"weights": weights, "denoiser": str(denoiser), "bank": tmp_path / "bank.parquet"}
    assert verbs["score"].outputs(given) == [Path("s"), Path("d")]
    (spec, code, own, absent) = verbs["score"].work(given)
    assert (spec, code, absent) == ("{}", "c", "")
    assert own.startswith(f"{weights}:4:")
    learned = {"spec": "{}", "code": "c", "weights": None, "learned": [weights, weights]}
    assert list(verbs["sanity"].work(learned)) == ["{}", "c", own, own]
    assert "learned" not in verbs["sanity"].told(dict.fromkeys(verbs["sanity"].options) | {"code": "c"})
    assert verbs["figures"].outputs({"out": Path("f/x.y")}) == [
        Path(f"f/x.y.{s}") for s in ("png", "pdf", "svg", "rst")
    ]
    assert verbs["tables"].outputs({"out": Path("t")}) == [Path("t/summary.parquet")]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ArtifactError("'a.parquet' is damaged"), REPEATS),
        (ConfigError("no GPU"), REPEATS),
        (DiskFullError("no space left"), 1),
        (StoppedEarlyError("stopped"), 1),
    ],
)
def test_the_exit_code_of_a_stage_says_whether_its_error_repeats(
    error: VitfaithError, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Stage, "run", fail)
    shard = next(stage for stage in STAGES if stage.verb == "shard")
    with pytest.raises(type(error)):
        shard.command()(spec="{}", code="", out=Path("x"))
    assert error.exit_code == code
