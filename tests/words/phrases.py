"""Phrases that readers stumble over, and what to write instead; one per line of the house style.

A phrase is a regular expression over text in which any run of white space is one space and all letters are small. ``bad`` is a
sentence that it must find. No phrase matches a sentence of ``GOOD``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

COUNTED = (
    r"(?:\d[\d.,]*(?: (?!(?:for|in|of|to|at|is|or|as|and|with|on|from|by|if)\b)\w+)?|one (?!of|in|to)[\w.]+|once|one|twice|rows?|forwards?|backwards?|passes|calls?|draws?|bytes|steps|images"
    r"|samples|masks|mb|gb|kb|ms|s|min|minutes|hours|seconds|variables|values|numbers|logits|evaluations|jobs|times?)"
)
"""The count before "a map": a number, a unit or a plural."""

UNIT = (
    r"(?:image|map|shard|method|job|pixel|patch|token|class|pass|step|experiment|condition|core|epoch|sample|draw|layer|block"
    r"|row|file|folder|model|stage|call|mask|metric|batch|word|dataset|gpu|process|pair|group|node"
    r"|explainer|attack|smoothing|family|figure|panel|mean|study|part|quantity|run|noun|verb|module|page|cell|head|variant|channel|gate|wordnet)"
)
"""The nouns that "per" goes with; "once a minute" is common English."""


@dataclass(frozen=True)
class Phrase:
    """A pattern to avoid, the words to write instead, and a sentence that the pattern must find."""

    pattern: str
    instead: str
    bad: str

    @property
    def regex(self) -> re.Pattern[str]:
        """For text in lower case, which is matched much faster than with ``re.IGNORECASE``."""
        return re.compile(self.pattern)


PER = (
    Phrase(rf"(?<![\w-]){COUNTED} an? {UNIT}\b(?! (?:of|that|which|has|is|in)\b)", "… per image", "10 forwards a map"),
    Phrase(rf"\bonce for an? {UNIT}\b", "once per image", "they are computed once for a job"),
    Phrase(r"\bone an? (?!of)\w+", "one per image", "a column, or one an image"),
)
"""Habit one: "a" for "per"."""

TELL = (
    Phrase(
        r"\btell(?:s|ing)?\b(?! (?:you|us|snakemake|git|uv)\b)",
        "report, show, say; distinguish",
        "A job tells its time.",
    ),
    Phrase(r"\btold\b", "reported, given, known; distinguished", "Its noise level is told."),
    Phrase(r"\b(?:be|is|are|was|were) told apart\b", "be distinguished", "two methods cannot be told apart"),
    Phrase(r"\b(?:it is|is it) said\b|\bis said in\b", "see …", "It is said in the docs."),
    Phrase(r"\bsays? (?:little|much|nothing) (?:of|to)\b", "says little about", "it says little of the machine"),
    Phrase(r"\bnobody told\b|\bunless told\b", "unless set", "rgb unless told otherwise"),
)
"""Habit two: "tell" for report, show, distinguish."""

HEADLESS = (
    Phrase(r"\b(?:that|those) of\b", "name the thing again", "its throughput is that of the network"),
    Phrase(r"\bthose (?:which|that|who)\b", "the files that …", "names those that are altered"),
    Phrase(r"\bthat which\b", "name the thing", "That which is removed stays."),
    Phrase(r"\bthe same of\b", "the same for …, or name it", "the same of its targets"),
    Phrase(r"^what (?!is\b[^.]*\?)[a-z][^?]*\.", "name the thing first", "What its cost can be told by, in order."),
    Phrase(r"\bwhat (?:is|was|are|were) \w+(?:ed|en|de|ne|pt|ld) (?:is|are|was|has|have|becomes|keeps|stays)\b",
           "the removed pixels are …", "what is done is kept"),
    Phrase(r"\bwith what (?:is|are|was)\b|\bof what (?:is|are|was)\b", "name the thing", "a list of what is missing"),
    Phrase(r"\bhow like\b", "similarity of … and …", "How like the maps are."),
)  # fmt: skip
"""Habit three: clauses without a head."""

WORDS = (
    Phrase(r"\bbe (?:it|they)\b", "whether … or …", "names, be it by default, an item"),
    Phrase(r"\b(?:is|are|was|were|be) had\b", "comes from, is available", "the digest is had from its parts"),
    Phrase(r"\bof (?:one's|your|its|their|my|our|his) own\b", "your own …", "maps of your own"),
    Phrase(r"\b(?:is|are) (?:needed|wanted|read|used|known) by it\b", "it needs …", "no server is needed by it"),
    Phrase(r"\beasy to be\b", "easy to …", "a layout that is easy to be changed"),
    Phrase(r"\bdeal(?:s|t|ing)? (?:a|an|each|the|out|into|images|its)\b", "split into", "deals a dataset into files"),
    Phrase(r"\bthrown away\b", "discarded", "parts are thrown away"),
    Phrase(r"\bgive the same command\b", "run the same command again", "Then give the same command again."),
    Phrase(r"\bmend(?:s|ed|ing)?\b", "fix", "mend the cause"),
    Phrase(r"\bthat is no \w+", "that is not a …", "a shift that is no move"),
    Phrase(r"\bhangs? on\b", "depends on", "what hangs on it"),
    Phrase(r"\bafter which what\b", "…", "images after which what is done is kept"),
    Phrase(r"\b(?:made|makes?|making) (?:\w+ )?(?:again|anew)\b", "recreate, recompute", "the file is made again"),
    Phrase(r"\bmade with others\b", "made with other settings", "parts made with others"),
    Phrase(r"\bgo(?:es)? on (?:from|after|with|where)\b", "continues, resumes", "A killed training goes on from it."),
    Phrase(r"\bstands? (?:in for|for all)\b", "replaces", "what stands in for removed patches"),
    Phrase(r"\bwhat it takes\b", "its cost", "the docs tell what it takes"),
    Phrase(r"\b(?:are|is) not there\b", "is missing", "the file is not there"),
    Phrase(r"\bmost telling\b", "most predictive", "the most telling first"),
    Phrase(r"\bwithout (?:one|it|them),? all\b", "default: all", "without it all images"),
    Phrase(r"\bof the one of\b|\bthe one of\b", "name the thing", "the one of the colours"),
    Phrase(r"\bbut for\b", "except for, apart from", "Every table keeps its bytes, but for two."),
)
"""Words of older English, and word orders of another language."""

PHRASES = (*PER, *TELL, *HEADLESS, *WORDS)

GOOD = (
    "Results do not depend on the batch, the shard or the number of jobs.",
    "No certificate covers the attacks that are usual at that size.",
    "Rounding towards the clean pixel never increases |δ| of any coordinate.",
    "The digest of a file is computed from the digests of its parts.",
    "Features for the cost estimate, most predictive first.",
    "Similarity between the new and the old maps.",
    "Score changes below this value count as unchanged.",
    "Save progress every N images.",
    "Saved parts from other settings are discarded.",
    "Refers (explicitly or by default) to an item that the experiment does not include.",
    "Cost per image is paid once, not once per map.",
    "They depend little on the machine.",
    "This says little about other fills.",
    "Which metrics distinguish which methods from Random.",
    "Fix the cause and run the same command again.",
    "Easy to change; splits a dataset into shards.",
    "Needs no server; comes from the cache; your own metric.",
    "The docs state the cost; see the page on performance.",
    "A metric scores a map of an image; one row of a table is one image.",
    "One file of a shard; 3 images in a batch.",
    "What is an image that is not a photograph?",
    "n = 0 for a method below the line.",
    "What it does",
)
"""Sentences without a stumble: those of the house style and some that come close to a pattern."""
