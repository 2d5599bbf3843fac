"""The verdict on a folder of results, and the commands that put it right."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vitfaith.study.plan import Plan
from vitfaith.verify.expected import Expected, expected_files
from vitfaith.verify.files import Contents, Finding, read_contents

_SHOWN = 20
"""Files that the commands name; beyond, they take the list from a pipe."""


@dataclass(frozen=True)
class Verdict:
    """Result of the verification.

    Attributes:
        files: files read.
        size: their bytes.
        findings: what is wrong, sorted by path; empty where all is as it was written and, with a study, as it asks.
        others: files of no job of the study, which ``vitfaith table`` and the like would read with it; empty without a study.
        targets: what Snakemake is asked for to make altered, stale, mixed and missing files again.
    """

    files: int
    size: int
    findings: list[Finding]
    others: list[Path]
    targets: list[Path]


def verify(results: Path, plan: Plan | None = None) -> Verdict:
    """Read every file in ``results`` again and compare it with its digest, its provenance with its neighbours', and with ``plan``.

    Args:
        results: folder of a run; the study's plan expects its files there.
        plan: the study's; without it, stale files, and missing files that no record lists, cannot be found.

    Raises:
        ArtifactError: the folder holds no results.
    """
    contents = read_contents(results)
    findings = {finding.path: finding for finding in _mixed(contents)}
    targets: dict[Path, Path] = {}
    others: list[Path] = []
    if plan is not None:
        known = [_moved(e, Path(plan.results), results) for e in expected_files(plan)]
        findings |= {finding.path: finding for e in known for finding in _stale(e.path, e.spec, e.code, contents)}
        lacking = [e for e in known if not (e.path.is_file() or e.is_cache)]
        findings |= {e.path: Finding("missing", e.path, "the study asks for it") for e in lacking}
        targets = {e.path: e.target for e in known}
        others = sorted(path for path in contents.provenance if path not in targets and path.suffix == ".parquet")
    findings |= {finding.path: finding for finding in contents.findings}
    found = sorted(findings.values(), key=lambda finding: finding.path)
    written_by = {file: record for record, files in contents.listed.items() for file in files}
    remade = {targets.get(written_by.get(f.path, f.path), _visible(f.path, contents)) for f in found}
    return Verdict(contents.files, contents.size, found, others, sorted(remade))


def _moved(expected: Expected, old: Path, new: Path) -> Expected:
    """The same below another folder of results; its specification names files as the study does."""
    path, target = (new / file.relative_to(old) for file in (expected.path, expected.target))
    return replace(expected, path=path, target=target)


def _visible(path: Path, contents: Contents) -> Path:
    """``path``, or for a record the first of its files."""
    return next(iter(contents.listed.get(path, [])), path)


def _stale(path: Path, spec: Mapping[str, Any], code: str | None, contents: Contents) -> Iterator[Finding]:
    facts = contents.provenance.get(path)
    if facts is None:
        return
    differing = sorted(
        key for key in {*spec, *facts.get("spec", {})} if spec.get(key) != facts.get("spec", {}).get(key)
    )
    if differing:
        yield Finding("stale", path, f"made with other settings: {', '.join(differing)}")
    elif code is not None and facts.get("code") != code:
        yield Finding("stale", path, "made by other code")


def _mixed(contents: Contents) -> Iterator[Finding]:
    """Files of another specification or code than most shards beside them, or of other versions than most results."""
    folders: dict[Path, dict[Path, str]] = {}
    versions: dict[Path, str] = {}
    for path, facts in contents.provenance.items():
        versions[path] = json.dumps(facts.get("versions", {}), sort_keys=True)
        if path.suffix == ".parquet" and "spec" in facts:
            own = {name: value for name, value in facts["spec"].items() if name != "shard"}
            folders.setdefault(path.parent, {})[path] = json.dumps([own, facts.get("code")], sort_keys=True)
    yield from _minority(versions, "made with other versions of libraries than most results")
    for told in folders.values():
        yield from _minority(told, "made with other settings or code than most shards beside it")


def _minority(told: Mapping[Path, str], reason: str) -> Iterator[Finding]:
    if len(set(told.values())) > 1:
        usual = Counter(told.values()).most_common(1)[0][0]
        yield from (Finding("mixed", path, reason) for path, value in told.items() if value != usual)


def commands(
    verdict: Verdict, results: Path, study: Path | None, *, program: str = "vitfaith", folder: Path | None = None
) -> list[str]:
    """Shell lines that recreate the files with faults, to run in the caller's folder.

    Args:
        results: folder that was verified, as the caller names it.
        study: its YAML file, as the caller names it.
        program: what starts vitfaith.
        folder: in which ``vitfaith run`` runs the study; where the results are in another one, the lines name that.
    """
    if not verdict.findings:
        return []
    config = shlex.quote(str(study)) if study else "STUDY.yaml"
    root = results.resolve().parent
    elsewhere = folder is not None and folder.resolve() != root
    run = f"{program} run {config}{f' --directory {shlex.quote(str(root))}' if elsewhere else ''} -- all"
    if len(verdict.findings) > _SHOWN:
        again = f"{program} verify {_quoted([results])}{f' --study {config}' if study else ''}"
        return [
            f"{again} --only targets > again.txt",
            f"{again} --only files | xargs -d '\\n' rm -f --",
            f"xargs -d '\\n' {run} < again.txt",
        ]
    gone = [f.path for f in verdict.findings if f.kind != "missing"]
    lines = [f"rm -f -- {_quoted(_from(Path.cwd(), gone))}"] if gone else []
    return [*lines, f"{run} {_quoted(asked_for(verdict, results))}"]


def asked_for(verdict: Verdict, results: Path) -> list[Path]:
    """The targets as Snakemake names them: relative to the folder above the results."""
    return _from(results.resolve().parent, verdict.targets)


def _from(folder: Path, paths: Iterable[Path]) -> list[Path]:
    """Paths relative to ``folder`` where they are below it, else absolute."""
    found = [path.resolve() for path in paths]
    return [path.relative_to(folder) if path.is_relative_to(folder) else path for path in found]


def _quoted(paths: Iterable[Path]) -> str:
    return " ".join(shlex.quote(str(path)) for path in paths)
