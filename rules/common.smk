"""Functions and constraints that the rules share. What a study needs is decided in vitfaith.study, not here."""

import importlib.util
import os
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

# The library of the clone in which this file lies, also where another Snakefile uses it as a module; jobs find it, too.
SOURCE = Path(str(workflow.current_basedir), "..", "src").resolve()
if (SOURCE / "vitfaith").is_dir() and str(SOURCE) not in sys.path[:1]:
    sys.path.insert(0, str(SOURCE))
    searched = [str(SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ.update(PYTHONPATH=os.pathsep.join(searched))
try:
    from vitfaith.study.load import load_study, read_yaml
    from vitfaith.errors import VitfaithError
    from vitfaith.artifacts.paths import SHARED
    from vitfaith.packed import packed
    from vitfaith.shipped import is_shipped, named
    from vitfaith.study import identity, inputs, needs
    from vitfaith.study.contents import is_outside
    from vitfaith.study.places import PlacesWhereNothingIsDone, places
    from vitfaith.study.plan import Plan
    from vitfaith.study.promised import promised_files
except ImportError as error:
    raise WorkflowError(
        f"{error}: install vitfaith in the environment of Snakemake: pip install 'vitfaith[workflow]'"
    )

# Jobs call python by its name: where Snakemake's own can run them, it is found first.
if importlib.util.find_spec("torch") is not None:
    programs = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    os.environ.update(PATH=os.pathsep.join(programs))

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
    PLAN = Plan(load_study(config or read_yaml(Path(DEFAULT))))
    # An unreadable dataset is reported here, not within an input function; the processes of jobs do not check again.
    for dataset in (
        {c.dataset for c in PLAN.conditions} if workflow.is_main_process else ()
    ):
        PLAN.shards(dataset)
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
    explained=r"[a-z0-9_]+",
    family=r"[a-z_]+",
    explainer=one_of(STUDY.explainers),
    shard=r"shard-\d+",
    experiment=one_of(STUDY.experiments),
    figure=one_of(STUDY.figures),


def spec_of(stage):
    """An input function for ``params``: all settings the job depends on, as canonical JSON; compressed if long."""

    def get(wildcards):
        return packed(identity.spec_of(PLAN, stage, dict(wildcards)))

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


# Options about the machine that every job on a device gets. Resources and not params: they never cause a recomputation.
ON_DEVICE = (
    " --gpus {resources.gpu:q} --device {resources.device:q} --fast {resources.fast:q} --batch-size {resources.batch_size:q}"
    " --part-size {resources.part_size:q}"
)


# A job on a device asks for one GPU, and for none where the study computes on the CPU or the profile has none (`gpu: 0`).
# A job inside a cluster does not get the profile's limit, so it would request a GPU that its submission does not have.
if workflow.is_main_process:
    allowed = workflow.global_resources.get("gpu")
    none = allowed is not None and allowed.value == 0
    os.environ.update(VITFAITH_GPUS="0" if none else "1")
GPUS = 0 if STUDY.compute.device == "cpu" else int(os.getenv("VITFAITH_GPUS", "1"))


def needs_of(stage):
    """MB and minutes of a stage's jobs; each retry asks for more, and goes on with the images that are left."""

    def memory(wildcards, attempt):
        return attempt * needs.memory_mb(PLAN, stage, dict(wildcards), GPUS > 0)

    def minutes(wildcards, attempt):
        return attempt * needs.minutes(PLAN, stage, dict(wildcards), GPUS > 0)

    return {"mem_mb": memory, "runtime": minutes}


# Parameters for jobs on a device, in batches and parts.
OF_A_DEVICE = {
    "gpu": GPUS,
    "device": STUDY.compute.device,
    "fast": STUDY.compute.fast,
}
BATCHES = {
    "batch_size": 0 if STUDY.compute.batch_size == "auto" else STUDY.compute.batch_size,
    "part_size": STUDY.compute.part_size,
}


def by_contents(files):
    """Files as input of a rule; those given to the study count by the digest in ``params.spec``, not by their time.

    Shipped files, whose place may change, and names in which Snakemake would expand ``{x}`` or ``<x>`` are left out: the
    digest alone counts.
    """
    return [
        ancient(file) if is_outside(PLAN, file) else file
        for file in files
        if not re.search("[{}<>]", file) and not is_shipped(file)
    ]


def given(stage):
    """An input function for the files that the plan adds to those which a rule names."""

    def get(wildcards):
        found = inputs.reads(PLAN, stage, dict(wildcards))
        return by_contents([file for read in found for file in read.files])

    return get


def options(stage):
    """A function for ``params``: the options of these files, as arguments that ``:q`` in the shell line quotes one by one."""

    def get(wildcards):
        found = inputs.reads(PLAN, stage, dict(wildcards))
        return [
            text for read in found for text in (f"--{read.option}", named(read.path))
        ]

    return get


def images_to_denoise(wildcards):
    return inputs.images_to_denoise(PLAN, dict(wildcards))


def images_to_score(wildcards):
    return inputs.images_to_score(PLAN, dict(wildcards))


def maps_to_score(wildcards):
    return inputs.maps_to_score(PLAN, dict(wildcards))


def start_weights_of(wildcards):
    """The weights that a training starts from, nothing from scratch."""
    return by_contents(PLAN.start_weights(wildcards.name))


def experiment_results(wildcards):
    return PLAN.experiment_files(wildcards.experiment)


def training_logs(wildcards):
    logs = inputs.training_logs(PLAN, wildcards.experiment)
    return [log for log in logs if not re.search("[{}<>]", log) and not is_shipped(log)]


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
    return inputs.trained_networks(PLAN)
