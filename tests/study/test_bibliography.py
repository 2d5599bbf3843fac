"""`vitfaith cite`: every citation of a registered item has its entry, and every entry is cited."""

from __future__ import annotations

import re
import sys
import unicodedata
from pathlib import Path

import pytest

from vitfaith.cli.main import main
from vitfaith.study.bibliography import Work, bibliography, uses, works, works_in
from vitfaith.study.listing import LISTED
from vitfaith.study.load import load_study, read_yaml

ROOT = Path(__file__).resolve().parents[2]
CITATIONS = sorted({entry.citation for registry in LISTED.values() for entry in registry if entry.citation})

PLAIN = {
    "maps computed by the user",
    "average precision of the object's pixels",
    "area under the ROC curve",
    "Pearson correlation",
    "Spearman rank correlation",
    "cosine similarity",
    "L1 distance after L1 normalisation",
    "L2 distance after L1 normalisation",
    "our own read-outs",
    "re-implemented from the paper",
}
"""Parts of citations that name no work."""

REQUIRED = {
    "article": {"journal", "year"},
    "inproceedings": {"booktitle", "year"},
    "techreport": {"institution", "year"},
    "phdthesis": {"school", "year"},
    "misc": set(),
}


@pytest.mark.parametrize("citation", CITATIONS)
def test_every_part_of_a_citation_has_an_entry(citation: str) -> None:
    for part in map(str.strip, citation.split(";")):
        assert part in PLAIN or works_in(part), part


def test_every_entry_is_cited() -> None:
    cited = {work for citation in CITATIONS for work in works_in(citation)}
    assert [w.key for w in works() if w not in cited and not w.field("backbone")] == []


def _plain(text: str) -> str:
    """Without accents and braces: Jégou is Jegou."""
    return re.sub(r"[{}]", "", unicodedata.normalize("NFKD", text)).encode("ascii", "ignore").decode()


@pytest.mark.parametrize("work", works(), ids=lambda work: work.key)
def test_entries_are_well_formed(work: Work) -> None:
    assert {"author", "title"} | REQUIRED[work.kind] <= {name for name, _ in work.fields}
    assert work.kind != "misc" or work.field("eprint") or work.field("howpublished")
    assert re.fullmatch(r"(\d{4}\.\d{4,5})?", work.field("eprint"))
    for author in work.field("author").split(" and "):
        assert author == "others" or re.fullmatch(r"[^,]+, [^,]+", author)
    first = _plain(work.field("author").split(",")[0]).lower().replace("-", "").replace(" ", "")
    assert re.match(rf"{first}(\d{{4}})", work.key), "the key is first author, year, word"
    assert work.field("year") in ("", re.findall(r"\d{4}", work.key)[0])


@pytest.mark.parametrize("citation", CITATIONS)
def test_entries_agree_with_the_citation_in_author_and_year(citation: str) -> None:
    """A part that starts with names, as "Wu et al. 2024", starts with the author of one of its works."""
    for part in citation.split(";"):
        found = works_in(part)
        if match := re.match(r"\s*([A-Z][\w-]+)(?:,| and| &| et al)", part):
            assert match[1] in {_surname(work) for work in found}
        years = set(re.findall(r"\b(?:19|20)\d\d\b(?![.]\d)", re.sub(r"\d{4}\.\d{4,5}", "", part)))
        assert not years or years & {work.field("year") for work in found}


def _surname(work: Work) -> str:
    return work.field("author").split(",")[0].split()[0]


def test_a_study_cites_what_it_uses() -> None:
    found, bare = uses(load_study(read_yaml(ROOT / "config" / "config.yaml")))
    keys = {work.key: used for work, used in found.items()}
    assert keys["abnar2020quantifying"] == ["explainers.rollout"]
    assert keys["madry2018towards"] == ["attacks.pgd"]
    assert "metrics.saco" in keys["wu2024faithfulness"]
    assert "metrics.saco.fill" in keys["wu2024faithfulness"]
    assert "figures.saco_leaderboard" in keys["wu2024faithfulness"]
    assert {"smoothings.dds"} <= set(keys["hu2024improving"])
    assert keys["xiao2017fashion"] == [f"datasets.fashion_mnist_{part}" for part in ("train", "test", "held_out")]
    networks = [f"models.{name}" for name in ("vit_patch4", "vit_patch2", "taught_patch4", "taught_patch2")]
    assert keys["dosovitskiy2021image"] == ["explainers.raw_attention", *networks]
    assert keys["wightman2019timm"] == networks
    assert "croce2020reliable" not in keys
    assert "datasets.fashion_mnist" in bare
    assert "attacks.clean" in bare


def test_the_command_prints_entries_that_bibtex_reads(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["vitfaith", "cite", str(ROOT / "config" / "tiny.yaml")])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert text == bibliography(load_study(read_yaml(ROOT / "config" / "tiny.yaml")))
    assert text.startswith("@software{vitfaith,")
    year = re.findall(r"Copyright \(c\) (\d{4})", (ROOT / "LICENSE").read_text())[0]
    assert f"  year = {{{year}}}," in text.split("\n\n")[0]
    assert text.count("{") == text.count("}")
    assert "cited =" not in text
    assert "backbone =" not in text
    outside = re.sub(r"^@\w+\{.*?^\}", "", text, flags=re.DOTALL | re.MULTILINE)
    assert all(line.startswith("%") for line in outside.splitlines() if line)
