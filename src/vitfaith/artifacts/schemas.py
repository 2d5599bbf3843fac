"""Every Arrow schema of the chain. Paths add the condition as Hive partition columns; these are the file columns."""

from __future__ import annotations

import pyarrow as pa

_IMAGE = [
    pa.field("channels", pa.int16(), nullable=False),
    pa.field("height", pa.int16(), nullable=False),
    pa.field("width", pa.int16(), nullable=False),
    pa.field("pixels", pa.binary(), nullable=False),
]
_ID = pa.field("image_id", pa.string(), nullable=False)
TRUTH = pa.field("truth", pa.binary())
"""Segmentation of an image: height × width bytes, row by row: 1 object, 0 background, 255 ignored; null without one."""

CLUSTER = pa.field("cluster", pa.string())
"""Name of the group of images that one belongs to (same object, scene or subject); null for an image alone."""

DIGEST = pa.field("digest", pa.string())
"""Of an image: :func:`vitfaith.artifacts.images.image_digest`; null in files of earlier versions."""

OPTIONAL = frozenset({TRUTH.name, CLUSTER.name, DIGEST.name})
"""Columns that a file may lack (older files, images without masks); they are read as nulls."""

_METHOD = pa.field("method", pa.string(), nullable=False)
_SCORE = [
    pa.field("metric", pa.string(), nullable=False),
    pa.field("variant", pa.string(), nullable=False),  # "k=10"; empty where a metric has one read-out
    pa.field("value", pa.float64(), nullable=False),  # NaN when flag is set
    pa.field("flag", pa.string(), nullable=False),  # "" or the reason why value is NaN
]

SHARDS = pa.schema([_ID, pa.field("label", pa.int32(), nullable=False), *_IMAGE, TRUTH, CLUSTER])
"""Images of a dataset; ``pixels`` is uint8, channel-first."""

IMAGES = pa.schema(
    [
        _ID,
        pa.field("label", pa.int32(), nullable=False),
        pa.field("target", pa.int32(), nullable=False),  # explained class: prediction on the clean image
        pa.field("prediction", pa.int32(), nullable=False),  # class predicted for the stored image
        pa.field("success", pa.bool_(), nullable=False),  # prediction differs from target
        pa.field("linf", pa.float32(), nullable=False),  # distance to the clean image, in [0, 1] pixel units
        pa.field("l2", pa.float32(), nullable=False),
        *_IMAGE[:-1],
        pa.field("pixels", pa.binary()),
        DIGEST,
    ]
)
"""Attacked images; ``pixels`` is uint8, channel-first, rounded towards the clean image.

They are null where the attack changes nothing: the pixels lie in the shard (:mod:`vitfaith.artifacts.attacked`).
"""

WITHOUT_PIXELS = pa.schema([field for field in IMAGES if field.name not in ("pixels", DIGEST.name)])
"""Columns of attacked images for stages that look at no pixel."""

DENOISED = pa.schema([_ID, pa.field("sample", pa.int32(), nullable=False), *_IMAGE])
"""One row per (image, noise sample); ``pixels`` is float16 in [0, 1], channel-first."""

PREDICTIONS = pa.schema(
    [
        _ID,
        pa.field("label", pa.int32(), nullable=False),
        pa.field("target", pa.int32(), nullable=False),
        pa.field("prediction", pa.int32(), nullable=False),  # arg-max of the mean probability
        pa.field("target_probability", pa.float32(), nullable=False),
        pa.field("probabilities", pa.list_(pa.float32()), nullable=False),  # mean over samples
        pa.field("votes", pa.list_(pa.int32()), nullable=False),  # arg-max counts over samples
        pa.field("samples", pa.int32(), nullable=False),
    ]
)

VOTES = pa.schema(
    [
        _ID,
        pa.field("label", pa.int32(), nullable=False),
        pa.field("target", pa.int32(), nullable=False),
        pa.field("probabilities", pa.list_(pa.float32()), nullable=False),
        pa.field("sample_predictions", pa.list_(pa.int32()), nullable=False),  # class of each noise sample, in order
    ]
)
"""Prediction files behind a smoothing as certificates read them, with one more column than ``PREDICTIONS``."""

SMOOTHED_PREDICTIONS = pa.schema([*PREDICTIONS, VOTES.field("sample_predictions")])

MAPS = pa.schema(
    [
        _ID,
        _METHOD,
        pa.field("target", pa.int32(), nullable=False),
        pa.field("rows", pa.int16(), nullable=False),
        pa.field("columns", pa.int16(), nullable=False),
        pa.field("map", pa.list_(pa.float32()), nullable=False),  # rows × columns, row by row
        pa.field("spread", pa.list_(pa.float32())),  # standard deviation over noise samples; null without smoothing
        pa.field("samples", pa.int32(), nullable=False),
        pa.field("flag", pa.string(), nullable=False),  # "", "constant" or "nan"
        pa.field(
            "tied", pa.float64(), nullable=False
        ),  # share of features equal to an earlier one; NaN with flag "nan"
    ]
)

SAMPLE_MAPS = pa.schema(
    [
        *(MAPS.field(name) for name in ("image_id", "method", "rows", "columns", "samples")),
        pa.field("sample_maps", pa.list_(pa.float32()), nullable=False),  # samples × rows × columns, not normalised
    ]
)
"""Map files behind a smoothing as certificates read them. Files of studies without a certificate lack the last column."""

RAW_MEANS = pa.schema(
    [
        *(MAPS.field(name) for name in ("image_id", "method", "rows", "columns")),
        pa.field("raw_mean", pa.list_(pa.float32()), nullable=False),  # mean over the samples' maps, not normalised
    ]
)
"""Columns of map files behind a smoothing that scale-dependent metrics read."""

SMOOTHED_MAPS = pa.schema([*MAPS, RAW_MEANS.field("raw_mean")])
CERTIFIED_MAPS = pa.schema([*SMOOTHED_MAPS, SAMPLE_MAPS.field("sample_maps")])

CERTIFICATES = pa.schema(
    [
        _ID,
        _METHOD,  # empty for a certificate of the prediction alone
        pa.field("certificate", pa.string(), nullable=False),  # id in the config
        pa.field("base", pa.string(), nullable=False),  # what a sample's map becomes: share, unit or vote
        pa.field("bound", pa.string(), nullable=False),  # confidence bound; "none" takes the mean for the expectation
        pa.field("k", pa.int32(), nullable=False),
        pa.field("beta", pa.float64(), nullable=False),
        pa.field("sigma", pa.float64(), nullable=False),  # in [0, 1] pixel units
        pa.field("alpha", pa.float64(), nullable=False),  # failure probability; NaN without a confidence bound
        pa.field("selection", pa.int32(), nullable=False),  # samples that chose the class or top-k set
        pa.field("samples", pa.int32(), nullable=False),  # other samples, that bounded it
        pa.field("radius", pa.float64(), nullable=False),  # l2; 0 where nothing is certified, NaN with flag "nan"
        pa.field("linf", pa.float64(), nullable=False),  # l_inf radius
        pa.field("inside", pa.float64(), nullable=False),  # bound of entry k-k0+1, or of the class's probability
        pa.field("outside", pa.float64(), nullable=False),  # bound of entry k+k0
        pa.field("map_radius", pa.float64(), nullable=False),  # parts of a joint certificate, NaN for others
        pa.field("prediction_radius", pa.float64(), nullable=False),
        pa.field("limit", pa.string(), nullable=False),  # the smaller part: "map", "prediction"; "" for others
        pa.field("label", pa.int32()),  # of the image; null for a certificate of the map alone
        pa.field("prediction", pa.int32()),  # certified class, -1 abstains; null for a certificate of the map alone
        pa.field("sound", pa.bool_(), nullable=False),  # a guarantee, or a number for comparison
        pa.field("flag", pa.string(), nullable=False),  # "", "nan", "constant" or "abstain"
    ]
)
"""Certified radii, one row per (image, method, certificate, k, beta)."""

SCORES = pa.schema([_ID, _METHOD, *_SCORE])

CURVES = pa.schema(
    [
        _ID,
        _METHOD,
        pa.field("curve", pa.string(), nullable=False),  # "morf", "lerf" (cumulative) or "groups" (one group at a time)
        pa.field("variant", pa.string(), nullable=False),  # level, fill, number of steps
        pa.field("step", pa.int16(), nullable=False),
        pa.field("fraction", pa.float32(), nullable=False),  # share of the features replaced
        pa.field("probability", pa.float32(), nullable=False),  # of the target class
        pa.field("log_probability", pa.float32(), nullable=False),
        pa.field("kl", pa.float32(), nullable=False),  # KL(clean distribution ‖ this one), nats
        pa.field("prediction", pa.int32(), nullable=False),
        pa.field("salience", pa.float32()),  # of the group, in the unit of the map; null for "morf" and "lerf"
    ]
)

BANK = pa.schema(
    [
        _ID,
        pa.field("target", pa.int32(), nullable=False),
        pa.field("masks", pa.string(), nullable=False),  # "clean", "singles", "cells(4)", "subsets(…)"
        pa.field("fill", pa.string(), nullable=False),  # empty for "clean"
        pa.field("step", pa.int32(), nullable=False),  # index of the mask, which follows from (seed, image_id, masks)
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("rows", pa.int16(), nullable=False),  # grid of the masks
        pa.field("columns", pa.int16(), nullable=False),
        pa.field("logit", pa.float64(), nullable=False),  # of the target class
        pa.field("probability", pa.float64(), nullable=False),
        pa.field("log_probability", pa.float64(), nullable=False),
        pa.field("kl", pa.float64(), nullable=False),  # KL(clean distribution ‖ this one), nats
        pa.field("prediction", pa.int32(), nullable=False),
    ]
)
"""The model's responses to masks that do not depend on explainers: one row per (image, mask)."""

STABILITY = pa.schema([_ID, _METHOD, pa.field("reference", pa.string(), nullable=False), *_SCORE])
"""Similarity of a map to the map of the same image in the ``reference`` condition: "clean" (same smoothing, no
attack) or "undefended" (no attack, no smoothing)."""

SANITY = pa.schema(
    [
        _ID,
        _METHOD,
        pa.field("check", pa.string(), nullable=False),
        pa.field("reference", pa.string(), nullable=False),  # "random blocks.5", "other class", "noise"
        pa.field("step", pa.int16(), nullable=False),  # place of the part, in the check's order; 0 for other checks
        *_SCORE,
    ]
)
"""How a map changes when its explainer is asked again under changed circumstances; ``metric`` is a stability measure,
"max_sensitivity", "avg_sensitivity", "lipschitz", "complexity_rise", or "relative_…_stability" of input, output or representation."""

DIFFMASK_LOG = pa.schema(
    [
        pa.field("step", pa.int32(), nullable=False),
        pa.field("images", pa.int64(), nullable=False),
        *(
            pa.field(name, pa.float32(), nullable=False)
            for name in ("kl", "kept_share", "objective", "multiplier", "agreement", "gradient_norm")
        ),
        *(pa.field(name, pa.float32()) for name in ("test_kl", "test_kept_share", "test_agreement")),
    ]
)
"""Training of a DiffMask, one row every ``log_every`` steps; the figure ``diffmask_training`` reads it."""

SUMMARY = pa.schema(
    [
        pa.field("dataset", pa.string()),
        pa.field("model", pa.string()),
        pa.field("attack", pa.string()),
        pa.field("smoothing", pa.string()),
        pa.field("explained", pa.string()),
        _METHOD,
        pa.field("reference", pa.string(), nullable=False),  # empty for scores
        pa.field("metric", pa.string(), nullable=False),
        pa.field("variant", pa.string(), nullable=False),
        pa.field("n", pa.int64(), nullable=False),  # images with a finite value
        pa.field("clusters", pa.int64(), nullable=False),  # how many of them are independent
        pa.field("flagged", pa.int64(), nullable=False),  # images without
        pa.field("mean", pa.float64(), nullable=False),
        pa.field("low", pa.float64(), nullable=False),  # bounds of the confidence interval of the mean
        pa.field("high", pa.float64(), nullable=False),
        pa.field("sd", pa.float64(), nullable=False),
        pa.field("confidence", pa.float64(), nullable=False),
    ]
)
