rule denoise:
    input:
        images=images_to_denoise,
        given=given("denoise"),
    output:
        # More samples extend what is there, so the job must find it.
        ensure(
            update(
                "results/denoise/dataset={dataset}/model={model}/attack={attack}/smoothing={smoothing}/{shard}.parquet"
            ),
            non_empty=True,
        ),
    log:
        "logs/denoise/{dataset}/{model}/{attack}/{smoothing}/{shard}.log",
    benchmark:
        "results/benchmarks/denoise/{dataset}/{model}/{attack}/{smoothing}/{shard}.jsonl"
    conda:
        "../envs/vitfaith.yaml"
    resources:
        **OF_A_DEVICE,
        **BATCHES,
        **needs_of("denoise"),
    params:
        spec=spec_of("denoise"),
        code=code_of("denoise"),
        options=options("denoise"),
    message:
        "Denoise {wildcards.dataset} {wildcards.shard} under {wildcards.attack} on {wildcards.model} ({wildcards.smoothing})"
    shell:
        "python -m vitfaith denoise --spec {params.spec:q} --code {params.code:q}"
        " --images {input.images:q} {params.options:q} --out {output:q}"
        + ON_DEVICE
        + " > {log:q} 2>&1"
