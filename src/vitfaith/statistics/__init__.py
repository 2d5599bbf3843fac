"""Statistics over images: intervals of means, paired tests of methods, ranks, and agreement of metrics."""

from vitfaith.statistics.agreement import metric_agreement
from vitfaith.statistics.common import COVERAGE, Common, common_images, mark_common
from vitfaith.statistics.intervals import confidence_interval
from vitfaith.statistics.paired import against, paired_comparisons, paired_tests
from vitfaith.statistics.ranks import MeanRanks, friedman_nemenyi
from vitfaith.statistics.segmentation import segmentation_scores
from vitfaith.statistics.side import side_scores
from vitfaith.statistics.small import SMALL, small_sample_note
from vitfaith.statistics.summary import summarise, summarise_compared

__all__ = [
    "COVERAGE",
    "SMALL",
    "Common",
    "MeanRanks",
    "against",
    "common_images",
    "confidence_interval",
    "friedman_nemenyi",
    "mark_common",
    "metric_agreement",
    "paired_comparisons",
    "paired_tests",
    "segmentation_scores",
    "side_scores",
    "small_sample_note",
    "summarise",
    "summarise_compared",
]
