"""Statistics over images: intervals of means, paired tests of methods, ranks, and agreement of metrics."""

from vitfaith.statistics.agreement import metric_agreement
from vitfaith.statistics.intervals import confidence_interval
from vitfaith.statistics.paired import paired_comparisons, paired_tests
from vitfaith.statistics.ranks import MeanRanks, friedman_nemenyi
from vitfaith.statistics.segmentation import segmentation_scores
from vitfaith.statistics.side import side_scores
from vitfaith.statistics.summary import summarise

__all__ = [
    "MeanRanks",
    "confidence_interval",
    "friedman_nemenyi",
    "metric_agreement",
    "paired_comparisons",
    "paired_tests",
    "segmentation_scores",
    "side_scores",
    "summarise",
]
