"""Snakemake's executor for SLURM, kept from dead ends: the Snakefile puts it in the place of the plugin's.

Options, profiles and submission are the same as in snakemake-executor-plugin-slurm. `docs/slurm.md` lists the differences.
"""

from __future__ import annotations

__all__ = ["install"]


def install() -> None:
    """Let `executor: slurm` mean :class:`~vitfaith_slurm.executor.Executor`; nothing where the plugin is not installed."""
    from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

    registry = ExecutorPluginRegistry()
    if "slurm" not in registry.get_registered_plugins():
        return
    from vitfaith_slurm.executor import Executor

    registry.get_plugin("slurm").executor = Executor
