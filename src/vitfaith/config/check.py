"""Everything that can be known to be wrong before hours are spent."""

from __future__ import annotations

from pathlib import Path

from vitfaith.config.load import load_study, read_yaml
from vitfaith.errors import ConfigError
from vitfaith.plan.plan import Plan


def check_study(config: Path) -> list[str]:
    """Lines that say what a run will do.

    Raises:
        ConfigError: a key, reference or value is wrong, or a file that the study names does not exist.
    """
    study = load_study(read_yaml(config))
    plan = Plan(study)
    missing = []
    for model in sorted({c.model for c in plan.conditions}):
        if study.models[model].weights not in ("trained", "pretrained"):
            missing += [
                f"models.{model}.weights: '{p}' does not exist" for p in plan.weights(model) if not Path(p).is_file()
            ]
    for smoothing in sorted({c.smoothing for c in plan.conditions}):
        id_ = getattr(study.smoothings[smoothing].parameters, "denoiser", None)
        if id_ is not None and study.denoisers[id_].path != "trained":
            missing += [
                f"denoisers.{id_}.path: '{p}' does not exist"
                for p in plan.denoiser_files("smoothings", smoothing)
                if not Path(p).is_file()
            ]
    if missing:
        raise ConfigError("\n".join(missing))
    lines = [f"{config}: {len(study.experiments)} experiments, {len(plan.conditions)} conditions"]
    for name, experiment in study.experiments.items():
        lines.append(
            f"  {name}: {len(experiment.datasets)} datasets × {len(experiment.models)} models × {len(experiment.attacks)} attacks × "
            f"{len(experiment.smoothings)} smoothings × {len(experiment.explainers)} explainers × {len(experiment.metrics)} metrics"
        )
    return lines
