rule train_classifier:
    input:
        start=start_weights_of,
        given=given("train_classifier"),
    output:
        weights=ensure("results/train/classifier/{name}.safetensors", non_empty=True),
        log="results/train/classifier/{name}.log.parquet",
        record="results/train/classifier/.{name}.json",
    log:
        "logs/train/classifier/{name}.log",
    benchmark:
        "results/benchmarks/train/classifier/{name}.jsonl"
    wildcard_constraints:
        name=one_of(STUDY.models),
    conda:
        "../envs/vitfaith.yaml"
    resources:
        **OF_A_DEVICE,
        **needs_of("train_classifier"),
    params:
        spec=spec_of("train_classifier"),
        code=code_of("train_classifier"),
        options=options("train_classifier"),
    message:
        "Train classifier {wildcards.name}"
    shell:
        "python -m vitfaith train classifier --spec {params.spec:q} --code {params.code:q} {params.options:q} --out {output.weights:q}"
        " --log {output.log:q} --gpus {resources.gpu:q} --device {resources.device:q} --fast {resources.fast:q} > {log:q} 2>&1"


rule train_denoiser:
    output:
        config="results/train/denoiser/{name}/unet/config.json",
        weights="results/train/denoiser/{name}/unet/diffusion_pytorch_model.safetensors",
        scheduler="results/train/denoiser/{name}/scheduler/scheduler_config.json",
        log="results/train/denoiser/{name}/log.parquet",
        record="results/train/denoiser/{name}/.record.json",
    log:
        "logs/train/denoiser/{name}.log",
    benchmark:
        "results/benchmarks/train/denoiser/{name}.jsonl"
    wildcard_constraints:
        name=one_of(STUDY.denoisers),
    conda:
        "../envs/vitfaith.yaml"
    resources:
        **OF_A_DEVICE,
        **needs_of("train_denoiser"),
    params:
        spec=spec_of("train_denoiser"),
        code=code_of("train_denoiser"),
        folder=subpath(output.log, parent=True),
    message:
        "Train denoiser {wildcards.name}"
    shell:
        "python -m vitfaith train denoiser --spec {params.spec:q} --code {params.code:q} --out {params.folder:q} --log {output.log:q}"
        " --gpus {resources.gpu:q} --device {resources.device:q} --fast {resources.fast:q} > {log:q} 2>&1"


rule train_diffmask:
    input:
        given=given("train_diffmask"),
    output:
        weights=ensure(
            "results/train/diffmask/{explainer}/{model}.safetensors", non_empty=True
        ),
        log="results/train/diffmask/{explainer}/{model}.log.parquet",
        record="results/train/diffmask/{explainer}/.{model}.json",
    log:
        "logs/train/diffmask/{explainer}/{model}.log",
    benchmark:
        "results/benchmarks/train/diffmask/{explainer}/{model}.jsonl"
    conda:
        "../envs/vitfaith.yaml"
    resources:
        **OF_A_DEVICE,
        **needs_of("train_diffmask"),
    params:
        spec=spec_of("train_diffmask"),
        code=code_of("train_diffmask"),
        options=options("train_diffmask"),
    message:
        "Train DiffMask {wildcards.explainer} for {wildcards.model}"
    shell:
        "python -m vitfaith train diffmask --spec {params.spec:q} --code {params.code:q} {params.options:q} --out {output.weights:q}"
        " --log {output.log:q} --gpus {resources.gpu:q} --device {resources.device:q} --fast {resources.fast:q} > {log:q} 2>&1"


rule train_shapley:
    input:
        given=given("train_shapley"),
    output:
        weights=ensure(
            "results/train/shapley/{explainer}/{model}.safetensors", non_empty=True
        ),
        log="results/train/shapley/{explainer}/{model}.log.parquet",
        record="results/train/shapley/{explainer}/.{model}.json",
    log:
        "logs/train/shapley/{explainer}/{model}.log",
    benchmark:
        "results/benchmarks/train/shapley/{explainer}/{model}.jsonl"
    conda:
        "../envs/vitfaith.yaml"
    resources:
        **OF_A_DEVICE,
        **needs_of("train_shapley"),
    params:
        spec=spec_of("train_shapley"),
        code=code_of("train_shapley"),
        options=options("train_shapley"),
    message:
        "Train ViT-Shapley {wildcards.explainer} for {wildcards.model}"
    shell:
        "python -m vitfaith train shapley --spec {params.spec:q} --code {params.code:q} {params.options:q} --out {output.weights:q}"
        " --log {output.log:q} --gpus {resources.gpu:q} --device {resources.device:q} --fast {resources.fast:q} > {log:q} 2>&1"
