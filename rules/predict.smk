rule predict:
    input:
        images="results/attack/dataset={dataset}/model={model}/attack={attack}/{shard}.parquet",
        denoised=denoised_of,
        weights=weights_of,
    output:
        ensure(
            "results/predictions/dataset={dataset}/model={model}/attack={attack}/smoothing={smoothing}/{shard}.parquet",
            non_empty=True,
        ),
    log:
        "logs/predict/{dataset}/{model}/{attack}/{smoothing}/{shard}.log",
    benchmark:
        "results/benchmarks/predict/{dataset}/{model}/{attack}/{smoothing}/{shard}.jsonl"
    wildcard_constraints:
        smoothing=one_of(PLAN.smoothings),
    conda:
        "../envs/vitfaith.yaml"
    resources:
        gpu=1,
        batch_size=batch_size_of,
    params:
        spec=spec_of("predict"),
        code=code_of("predict"),
        weights=weights_option,
    message:
        "Predict {wildcards.dataset} {wildcards.shard} by {wildcards.model} behind {wildcards.smoothing}, attack {wildcards.attack}"
    shell:
        "python -m vitfaith predict --spec {params.spec:q} --code {params.code} --images {input.images}"
        " --denoised {input.denoised} {params.weights} --out {output} --gpus {resources.gpu}"
        " --batch-size {resources.batch_size} > {log} 2>&1"
