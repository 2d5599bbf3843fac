rule attack:
    message:
        "Attack {wildcards.attack} on {wildcards.model}, {wildcards.dataset} {wildcards.shard}"
    input:
        images="results/shard/dataset={dataset}/{shard}.parquet",
        weights=weights_of,
    output:
        images=ensure("results/attack/dataset={dataset}/model={model}/attack={attack}/{shard}.parquet", non_empty=True),
        predictions=ensure(
            "results/predictions/dataset={dataset}/model={model}/attack={attack}/smoothing=none/{shard}.parquet",
            non_empty=True,
        ),
    log:
        "logs/attack/{dataset}/{model}/{attack}/{shard}.log",
    benchmark:
        "results/benchmarks/attack/{dataset}/{model}/{attack}/{shard}.jsonl"
    params:
        spec=spec_of("attack"),
        code=code_of("attack"),
        weights=weights_option,
    resources:
        gpu=1,
        batch_size=batch_size_of,
    conda:
        "../envs/vitfaith.yaml"
    shell:
        "python -m vitfaith attack --spec {params.spec:q} --code {params.code} --images {input.images} {params.weights}"
        " --out {output.images} --predictions {output.predictions} --gpus {resources.gpu}"
        " --batch-size {resources.batch_size} > {log} 2>&1"
