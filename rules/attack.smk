rule attack:
    input:
        images="results/shard/dataset={dataset}/{shard}.parquet",
        given=given("attack"),
    output:
        images=ensure(
            "results/attack/dataset={dataset}/model={model}/attack={attack}/{shard}.parquet",
            non_empty=True,
        ),
        predictions=ensure(
            "results/predictions/dataset={dataset}/model={model}/attack={attack}/smoothing=none/{shard}.parquet",
            non_empty=True,
        ),
    log:
        "logs/attack/{dataset}/{model}/{attack}/{shard}.log",
    benchmark:
        "results/benchmarks/attack/{dataset}/{model}/{attack}/{shard}.jsonl"
    conda:
        "../envs/vitfaith.yaml"
    resources:
        **OF_A_DEVICE,
        **BATCHES,
        **needs_of("attack"),
    params:
        spec=spec_of("attack"),
        code=code_of("attack"),
        options=options("attack"),
    message:
        "Attack {wildcards.attack} on {wildcards.model}, {wildcards.dataset} {wildcards.shard}"
    shell:
        "python -m vitfaith attack --spec {params.spec:q} --code {params.code:q} --images {input.images:q} {params.options:q}"
        " --out {output.images:q} --predictions {output.predictions:q}"
        + ON_DEVICE
        + " > {log:q} 2>&1"
