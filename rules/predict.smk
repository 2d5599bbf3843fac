rule predict:
    input:
        images="results/attack/dataset={dataset}/model={model}/attack={attack}/{shard}.parquet",
        given=given("predict"),
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
    # short jobs wait, so that the long ones do not leave a core idle at the end
    priority: -1
    conda:
        "../envs/vitfaith.yaml"
    resources:
        **OF_A_DEVICE,
        **BATCHES,
        **needs_of("predict"),
    params:
        spec=spec_of("predict"),
        code=code_of("predict"),
        options=options("predict"),
    message:
        "Predict {wildcards.dataset} {wildcards.shard} by {wildcards.model} behind {wildcards.smoothing}, attack {wildcards.attack}"
    shell:
        "python -m vitfaith predict --spec {params.spec:q} --code {params.code:q}"
        " --images {input.images:q} {params.options:q} --out {output:q}"
        + ON_DEVICE
        + " > {log:q} 2>&1"
