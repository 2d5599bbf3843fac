"""Functions and constraints that the rules share. What a study needs is decided in vitfaith.study, not here."""

import os
import re
from pathlib import Path

from snakemake.exceptions import WorkflowError

from vitfaith.study.load import load_study, read_yaml
from vitfaith.errors import VitfaithError
from vitfaith.artifacts.paths import SHARED, Condition
from vitfaith.study import identity
from vitfaith.study.contents import is_outside
from vitfaith.study.learned import learned_files, trained, trained_file, trainings
from vitfaith.study.metric_inputs import infilled, score_inputs
from vitfaith.study.plan import Plan
from vitfaith.study.promised import promised_files

# Without compiled modules kept, every job compiles torch and timm again, which takes as long as the job.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# glibc gives freed tensors back to the kernel and gets them again page by page: a fifth of a scoring job on a CPU.
for name, value in {
    "MALLOC_MMAP_THRESHOLD_": "1000000000",
    "MALLOC_TRIM_THRESHOLD_": "2000000000",
    "MALLOC_TOP_PAD_": "100000000",
}.items():
    os.environ.setdefault(name, value)

try:
    # Stricter than Snakemake, which takes the later of two equal keys.
    for file in workflow.overwrite_configfiles:
        read_yaml(Path(file))
    PLAN = Plan(load_study(config))
except VitfaithError as error:
    raise WorkflowError(f"configuration: {error}")
STUDY = PLAN.study
FIGURES = [(e, f) for e, asked in STUDY.experiments.items() for f in asked.figures]


def one_of(names):
    """A regular expression for one of ``names``; unknown names then never match a rule."""
    return "|".join(map(re.escape, names)) or "$."


wildcard_constraints:
    dataset=one_of(STUDY.datasets),
    model=one_of([*STUDY.models, SHARED]),
    attack=one_of(STUDY.attacks),
    smoothing=one_of(STUDY.smoothings),
    family=r"[a-z_]+",
    explainer=one_of(STUDY.explainers),
    shard=r"shard-\d+",
    experiment=one_of(STUDY.experiments),
    figure=one_of(STUDY.figures),


def spec_of(stage):
    """An input function for ``params``: all settings the job depends on, as canonical JSON."""

    def get(wildcards):
        return identity.spec_of(PLAN, stage, dict(wildcards))

    return get


def paper_of(wildcards):
    """The paper that a figure follows, by which the report orders figures; for one that follows none, its kind."""
    entry = STUDY.figures[wildcards.figure].entry
    return re.split("[;,]", entry.citation)[0] or entry.traits["category"].capitalize()


def caption_of(wildcards, output):
    """The caption that a figure's job has written, for the report."""
    path = Path(output.caption)
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def code_of(stage):
    """An input function for ``params``: fingerprint of the code behind the job."""

    def get(wildcards):
        return identity.code_of(PLAN, stage, dict(wildcards))

    return get


# What every job on a device is told about its machine. Resources and not params: they never cause a recomputation.
ON_DEVICE = (
    " --gpus {resources.gpu:q} --device {resources.device:q} --fast {resources.fast:q} --batch-size {resources.batch_size:q}"
    " --part-size {resources.part_size:q}"
)
BATCH_SIZE = 0 if STUDY.compute.batch_size == "auto" else STUDY.compute.batch_size


def memory(wildcards, input, attempt):
    """MB: the libraries and a model, and what is read, several times over; each retry asks for more."""
    return int(attempt * (6000 + 20 * input.size_mb))


def minutes(wildcards, input, attempt):
    """Each retry asks for more time, and goes on with the images that are left."""
    return int(attempt * (60 + input.size_mb))


def minutes_of_training(wildcards, attempt):
    return attempt * 720


def condition_of(wildcards):
    """The condition of a job; with an empty smoothing where its files are for all of them."""
    return Condition(
        wildcards.dataset,
        wildcards.model,
        wildcards.attack,
        wildcards.get("smoothing", ""),
    )


def by_contents(files):
    """Files as input of a rule; those given to the study count by the digest in ``params.spec``, not by their time.

    Names in which Snakemake would expand ``{x}`` or ``<x>`` are left out: the digest alone counts.
    """
    return [
        ancient(file) if is_outside(PLAN, file) else file
        for file in files
        if not re.search("[{}<>]", file)
    ]


# Functions for ``params`` return a list of arguments, which ``:q`` in the shell line quotes one by one.
def options(name, files):
    """``--name file`` for each of ``files``, as a list of arguments."""
    return [argument for file in files for argument in (f"--{name}", str(file))]


def weights_of(wildcards):
    return by_contents(PLAN.weights(wildcards.model))


def start_weights_of(wildcards):
    """The weights that a training starts from, nothing from scratch."""
    return by_contents(PLAN.start_weights(wildcards.name))


def weights_option(wildcards):
    path = PLAN.weights_path(wildcards.model)
    return options("weights", [path] if path else [])


def learned_paths(wildcards):
    """The files of learned explainers in a family; nothing for most families."""
    condition = Condition(
        wildcards.dataset,
        wildcards.model,
        wildcards.attack,
        wildcards.get("smoothing", "none"),
    )
    return learned_files(PLAN, condition, wildcards.family)


def learned_of(wildcards):
    return by_contents(learned_paths(wildcards))


def learned_options(wildcards):
    return options("learned", learned_paths(wildcards))


def images_to_denoise(wildcards):
    """Clean images are denoised once for all models; attacked ones belong to a model."""
    if wildcards.model == SHARED:
        return f"results/shard/dataset={wildcards.dataset}/{wildcards.shard}.parquet"
    return f"results/attack/dataset={wildcards.dataset}/model={wildcards.model}/attack={wildcards.attack}/{wildcards.shard}.parquet"


def denoiser_user(section, wildcards):
    """The smoothing, attack or metric that a job reads a denoiser for; None where no metric does."""
    if section == "metrics":
        return infilled(PLAN, condition_of(wildcards))
    return wildcards.smoothing if section == "smoothings" else wildcards.attack


def denoiser_of(section):
    """An input function for the files of a denoiser; nothing where none is used, or one of the hub."""

    def get(wildcards):
        return by_contents(
            PLAN.denoiser_files(section, denoiser_user(section, wildcards))
        )

    return get


def denoiser_option(section):
    def get(wildcards):
        folder = PLAN.denoiser(section, denoiser_user(section, wildcards))
        return options("denoiser", [folder] if folder else [])

    return get


def denoised_of(wildcards):
    """The denoised samples of a condition, nothing without smoothing."""
    if not PLAN.smooths(wildcards.smoothing):
        return []
    model = SHARED if wildcards.attack == "clean" else wildcards.model
    return PLAN.denoised(
        wildcards.dataset, model, wildcards.attack, wildcards.smoothing, wildcards.shard
    )


def denoised_option(wildcards):
    path = denoised_of(wildcards)
    return options("denoised", [path] if path else [])


def score_files(wildcards):
    """Option → file, for what the metrics of a condition read beside images and maps; empty for most metrics."""
    return score_inputs(PLAN, condition_of(wildcards), wildcards.shard)


def score_input(option):
    """An input function for the file of one option of ``score_files``, nothing where it has none."""

    def get(wildcards):
        return by_contents(
            [file for name, file in score_files(wildcards).items() if name == option]
        )

    return get


def score_options(wildcards):
    return [
        argument
        for name, file in score_files(wildcards).items()
        for argument in options(name, [file])
    ]


def reference_maps(wildcards):
    """The maps that a condition's maps are compared with."""
    return PLAN.reference_files(
        condition_of(wildcards), wildcards.family, wildcards.shard
    )


def reference_options(wildcards):
    references = PLAN.references(condition_of(wildcards))
    files = reference_maps(wildcards)
    return [
        argument
        for name, file in zip(references, files)
        for argument in options(name, [file])
    ]


def smoothed_maps(wildcards):
    """The map files of all families of a condition."""
    condition = condition_of(wildcards)
    folder = f"results/attribute/{condition.folder}"
    return [
        f"{folder}/family={family}/{wildcards.shard}.parquet"
        for family in sorted(PLAN.methods(condition))
    ]


def smoothed_maps_options(wildcards):
    return options("maps", smoothed_maps(wildcards))


def experiment_results(wildcards):
    return PLAN.experiment_files(wildcards.experiment)


def training_logs(wildcards):
    """How an experiment's learned explainers were trained."""
    logs = [training["log"] for training in trainings(PLAN, wildcards.experiment)]
    return [log for log in logs if not re.search("[{}<>]", log)]


def tables_folder(wildcards):
    return f"results/tables/experiment={wildcards.experiment}"


def figure_tables(wildcards):
    return [
        f"{tables_folder(wildcards)}/{need}.parquet"
        for need in sorted(PLAN.figure_needs(wildcards.figure))
    ]


def all_results(wildcards):
    """Every file over shards that the study promises, so that a deleted one is made again; caches are made when needed."""
    return promised_files(PLAN)


def trained_networks(wildcards):
    classifiers = [
        f"results/train/classifier/{name}.safetensors"
        for name, m in STUDY.models.items()
        if m.training
    ]
    denoisers = [
        f"results/train/denoiser/{name}/unet/config.json"
        for name, d in STUDY.denoisers.items()
        if d.training
    ]
    diffmasks = [trained_file(PLAN, *pair) for pair in trained(PLAN)]
    return classifiers + denoisers + diffmasks
