"""BibTeX of all that a study uses: references.bib, looked up by the citations of registered items."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.resources import files

from vitfaith.nested import items_inside
from vitfaith.study.sections import OF_SECTIONS
from vitfaith.study.study import Study

YEAR = 2026
"""Of the package, as its licence says."""

_ENTRY = re.compile(r"^@(\w+)\{([^,\s]+),\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_FIELD = re.compile(r"^  (\w+) = \{(.*)\},$", re.MULTILINE)
_OWN = ("cited", "backbone")
"""Fields of references.bib that are no BibTeX: see the head of that file."""


@dataclass(frozen=True)
class Work:
    """A paper, data set or program."""

    kind: str
    key: str
    fields: tuple[tuple[str, str], ...]

    def field(self, name: str) -> str:
        """A field's text, empty where the work has none."""
        return dict(self.fields).get(name, "")

    def _texts(self, name: str) -> list[str]:
        return [text.strip() for text in self.field(name).split("|") if text.strip()]

    def is_cited_in(self, citation: str) -> bool:
        """Whether a citation names it, by a text or by its arXiv number."""
        number = self.field("eprint")
        return bool(number and number in citation) or any(text in citation for text in self._texts("cited"))

    def is_behind(self, network: str) -> bool:
        """Whether it describes a network, by its name."""
        return any(text in network for text in self._texts("backbone"))

    def bibtex(self) -> str:
        """The entry."""
        lines = [f"  {name} = {{{value}}}," for name, value in self.fields if name not in _OWN]
        return "\n".join([f"@{self.kind}{{{self.key},", *lines, "}"])


@cache
def works() -> tuple[Work, ...]:
    """All works of references.bib."""
    text = files("vitfaith.study").joinpath("references.bib").read_text(encoding="utf-8")
    return tuple(Work(kind, key, tuple(_FIELD.findall(body))) for kind, key, body in _ENTRY.findall(text))


def works_in(citation: str) -> list[Work]:
    """The works that a citation of a registered item names."""
    return [work for work in works() if work.is_cited_in(citation)]


def _citations(study: Study) -> Iterator[tuple[str, str]]:
    """(key, citation) of every item that an experiment crosses, of all datasets, and of the items in their settings."""
    yield from ((f"datasets.{id_}", reader.entry.citation) for id_, (reader, _) in study.datasets.items())
    for section in OF_SECTIONS:
        items = getattr(study, section)
        asked = {id_ for experiment in study.experiments.values() for id_ in getattr(experiment, section)}
        if section == "smoothings":
            asked |= {str(through) for attack in study.attacks.values() if (through := _through(attack.parameters))}
        for id_ in (id_ for id_ in items if id_ in asked and section not in ("datasets", "models")):
            yield f"{section}.{id_}", items[id_].entry.citation
            for place, inner in items_inside(items[id_].parameters):
                yield f"{section}.{id_}.{place}", inner.entry.citation


def _through(parameters: object) -> str | None:
    """The smoothing that an attack sees."""
    named: str | None = getattr(parameters, "through", None)
    return named


def _networks(study: Study) -> Iterator[tuple[str, str]]:
    """(key, text that names the network) of every model and denoiser."""
    yield from ((f"models.{id_}", f"timm {model.timm}" if model.timm else "") for id_, model in study.models.items())
    yield from ((f"denoisers.{id_}", denoiser.format) for id_, denoiser in study.denoisers.items())


def uses(study: Study) -> tuple[dict[Work, list[str]], list[str]]:
    """Work → keys of the study that use it, in the order of the study; and the keys without any work."""
    found: dict[Work, list[str]] = {}
    bare = []
    for key, named in [
        *((key, works_in(citation)) for key, citation in _citations(study)),
        *((key, [work for work in works() if work.is_behind(name)]) for key, name in _networks(study)),
    ]:
        for work in named:
            found.setdefault(work, []).append(key)
        if not named:
            bare.append(key)
    return found, bare


def own_entry() -> str:
    """The entry of this package."""
    return "\n".join(
        [
            "@software{vitfaith,",
            "  author = {{The vitfaith developers}},",
            "  title = {vitfaith: Faithfulness of {Vision Transformer} Explanations},",
            f"  version = {{{version('vitfaith')}}},",
            f"  year = {{{YEAR}}},",
            "}",
        ]
    )


def bibliography(study: Study) -> str:
    """BibTeX of this package and of everything that a study uses; comments say what uses it.

    Lines that begin with % are comments: BibTeX skips what stands outside entries.
    """
    found, bare = uses(study)
    blocks = [own_entry(), *(f"% {', '.join(keys)}\n{work.bibtex()}" for work, keys in found.items())]
    if bare:
        blocks.append(f"% without a reference: {', '.join(bare)}")
    return "\n\n".join(blocks) + "\n"
