# vitfaith: faithfulness of Vision Transformer explanations, clean, under attack, and behind denoised diffusion smoothing.
# Run:   uv run snakemake --cores all            Config: config/config.yaml, explained in config/README.md
import os

from snakemake.utils import min_version

min_version("9.20")


# `--configfile my_study.yaml` replaces the default study; without any that of the folder runs, else the shipped one.
DEFAULT = "config/config.yaml"
if not os.path.isfile(DEFAULT):
    DEFAULT = str(workflow.source_path("config/config.yaml"))
if not workflow.overwrite_configfiles:

    configfile: DEFAULT


report: "workflow/report/workflow.rst"


include: "rules/common.smk"
include: "rules/shard.smk"
include: "rules/train.smk"
include: "rules/attack.smk"
include: "rules/denoise.smk"
include: "rules/predict.smk"
include: "rules/attribute.smk"
include: "rules/bank.smk"
include: "rules/score.smk"
include: "rules/stability.smk"
include: "rules/sanity.smk"
include: "rules/certify.smk"
include: "rules/tables.smk"
include: "rules/figures.smk"
include: "rules/page.smk"


# `executor: slurm`, without dead ends: docs/slurm.md.
if workflow.is_main_process:
    from vitfaith_slurm import install

    install()

# Snakemake calls no hook where there is nothing to do.
logger.addFilter(PlacesWhereNothingIsDone(PLAN))


rule all:
    default_target: True
    input:
        all_results,
        expand(rules.tables.output, experiment=STUDY.experiments),
        [expand(rules.figures.output, experiment=e, figure=f) for e, f in FIGURES],
        expand(rules.page.output, experiment=STUDY.experiments),
    localrule: True


rule scores:
    input:
        all_results,
        expand(rules.tables.output, experiment=STUDY.experiments),
    localrule: True


rule train:
    input:
        trained_networks,
    localrule: True


onstart:
    from vitfaith.artifacts.named import write_named

    write_named(Path(PLAN.results), promised_files(PLAN))


onsuccess:
    from vitfaith.artifacts.parts import remove_leftovers
    from vitfaith.tables.warnings import warnings_in

    remove_leftovers(Path(PLAN.results))
    for experiment in STUDY.experiments:
        for text in warnings_in(
            Path(
                PLAN.results,
                "tables",
                f"experiment={experiment}",
                "leaderboards.md",
            )
        ):
            logger.warning(f"Warning: experiment {experiment}: {text}")
    for line in places(PLAN):
        logger.info(line)
