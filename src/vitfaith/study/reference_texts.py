"""Texts of the reference of the configuration that no registry holds: introductions, and examples of sections without one."""

from __future__ import annotations

ABOUT = """A study is one YAML file. It names **datasets**, **models**, **attacks**, **explainers**, **metrics** and the like, each under an
id of your choice. **Experiments** say which of them to cross.

- `config/config.yaml` is the default study. `vitfaith run my_study.yaml` runs another one. A study file is complete: it inherits nothing.
- `vitfaith check my_study.yaml` reports what is wrong before anything runs. `vitfaith init` writes a first study.
- An item is `id: {key: name, settings …}`: `rollout: {explainer: attention_rollout, head_fusion: max}`. Without the key, the id is
  the name: `raw_attention: {}`. The table below gives the key of each section.
- Fractions such as `8/255` are understood wherever a number is.
- Paths are relative to the folder in which the study runs. `vitfaith:…` names a file that vitfaith ships.
- An editor that knows the YAML language server completes keys: put `# yaml-language-server: $schema=…/config.schema.json` in the first line."""

TOP = {
    "seed": "seed of every random number; each draw is keyed by (seed, image, purpose, sample)",
    "plugins": "Python files with your own explainers, metrics, attacks …",
    "code_tracking": "`digest` (default): changed code reruns its stage; `off`: it does not",
}

SMALLEST = """seed: 0
datasets:
  fashion: {reader: parquet, path: vitfaith:data/fashion_mnist.parquet, images: 64}
models:
  vit:
    timm: vit_tiny_patch16_224
    arguments: {img_size: 28, patch_size: 4, in_chans: 1, num_classes: 10, embed_dim: 64, depth: 6, num_heads: 4, mlp_ratio: 2.0}
    weights: vitfaith:models/vit_patch4.safetensors
attacks:
  clean: {}
smoothings:
  none: {}
explainers:
  random: {}
  rollout: {explainer: attention_rollout}
metrics:
  saco: {groups: [7]}
figures:
  saco_leaderboard: {}
experiments:
  first: {figures: [saco_leaderboard]}"""
"""The smallest study that computes and draws something."""

TITLES = {
    "datasets": "Sources of images, with their preprocessing.",
    "models": "The classifiers that are explained. Any timm model can be named.",
    "denoisers": "Diffusion denoisers, for smoothings and for the fill `diffusion`.",
    "attacks": "Attacks on an image before it is explained. `clean: {}` is always needed: the class predicted for the clean image is explained by default (`targets` of an experiment).",
    "smoothings": "Smoothings between the image and the classifier. `none: {}` is no smoothing.",
    "explainers": "The attribution methods.",
    "metrics": "A metric scores a map by the model's answers to perturbed images.",
    "fills": "Replacements of removed pixels. Fills have no section: they are values of the setting `fill`, which most metrics have. `fill: blur` gives only the name; `fill: {name: blur, sigma: 3}` also gives settings. `config/fills.yaml` measures how far the ranking of methods depends on the fill.",
    "stability": "A stability measure compares a map with the map of the clean image.",
    "sanity": "A check computes explanations again, to see whether a map depends on the model and the class and does not depend on noise. Checks run without smoothing.",
    "certificates": "Proofs about predictions and maps behind a smoothing.",
    "figures": "Figures of an experiment.",
    "experiments": "An experiment crosses conditions with explainers and metrics. A list that is left out stands for the whole section.",
    "statistics": "Confidence intervals and tests.",
    "compute": "How to compute. No value here changes a result beyond rounding, and none makes a job run again.",
}
"""Section → its introduction, in the order of the reference."""

MORE = {
    "datasets": "../datasets.md",
    "models": "../models.md",
    "denoisers": "../training.md",
    "explainers": "../relevance.md",
    "metrics": "../metrics.md",
    "fills": "../fills.md",
    "certificates": "../certificates.md",
    "statistics": "../statistics.md",
    "compute": "../performance.md",
}
"""Section → the page that explains it at length."""

EXAMPLES = {
    "models": """models:
  vit_s: {timm: vit_small_patch16_224, weights: pretrained}
  mine:
    timm: vit_tiny_patch16_224
    arguments: {img_size: 28, patch_size: 4, in_chans: 1, num_classes: 10}
    weights: trained
    training:
      train_on: fashion_train
      test_on: fashion_test
      epochs: 10
      removal: {fill: image_mean, up_to: 1.0}""",
    "denoisers": """denoisers:
  fashion_mnist: {path: vitfaith:denoisers/fashion_mnist}
  imagenet: {format: adm, preset: imagenet_256_uncond, path: 256x256_diffusion_uncond.pt}
  mine: {path: trained, training: {train_on: fashion_train, test_on: fashion_test, epochs: 4}}""",
    "experiments": """experiments:
  clean_only: {attacks: [clean], smoothings: [none], figures: [saco_leaderboard]}
  two_classes: {attacks: [clean], targets: [clean_prediction, runner_up], metrics: [saco]}""",
    "statistics": "statistics: {confidence: 0.95, resamples: 2000, coverage: 0.9}",
    "compute": "compute: {batch_size: 64, device: cpu}",
    "precision": "models:\n  vit_s: {timm: vit_small_patch16_224, weights: pretrained, precision: {score: bfloat16, attribute: tf32}}",
    "style": "figures:\n  style: {columns: one, font_size: 8, labels: {rollout: Attention rollout}}",
    "diffmask": """explainers:
  diffmask:
    weights: trained
    training: {train_on: fashion_train, test_on: fashion_test, epochs: 1}""",
    "shapley": """explainers:
  vit_shapley:
    weights: trained
    training: {train_on: fashion_train, test_on: fashion_test, surrogates: {mine: my_surrogate}}""",
}
"""Section, or part of one → an example; a test loads each."""
