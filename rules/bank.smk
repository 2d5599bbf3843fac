rule bank:
    input:
        images="results/attack/dataset={dataset}/model={model}/attack={attack}/{shard}.parquet",
        weights=weights_of,
        denoiser=denoiser_of("metrics"),
    output:
        ensure(
            "results/bank/dataset={dataset}/model={model}/attack={attack}/{shard}.parquet",
            non_empty=True,
        ),
    log:
        "logs/bank/{dataset}/{model}/{attack}/{shard}.log",
    benchmark:
        "results/benchmarks/bank/{dataset}/{model}/{attack}/{shard}.jsonl"
    conda:
        "../envs/vitfaith.yaml"
    resources:
        gpu=1,
        device=STUDY.compute.device,
        fast=STUDY.compute.fast,
        batch_size=BATCH_SIZE,
        part_size=STUDY.compute.part_size,
        mem_mb=memory,
        runtime=minutes,
    params:
        spec=spec_of("bank"),
        code=code_of("bank"),
        weights=weights_option,
        denoiser=denoiser_option("metrics"),
    message:
        "Response bank of {wildcards.model}: {wildcards.dataset} {wildcards.shard}, {wildcards.attack}"
    shell:
        "python -m vitfaith bank --spec {params.spec:q} --code {params.code:q}"
        " --images {input.images:q} {params.weights:q} {params.denoiser:q} --out {output:q}"
        + ON_DEVICE
        + " > {log:q} 2>&1"
