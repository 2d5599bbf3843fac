rule bank:
    input:
        images=images_to_score,
        given=given("bank"),
    output:
        ensure(
            "results/bank/dataset={dataset}/model={model}/attack={attack}/smoothing={smoothing}/explained={explained}/{shard}.parquet",
            non_empty=True,
        ),
    log:
        "logs/bank/{dataset}/{model}/{attack}/{smoothing}/{explained}/{shard}.log",
    benchmark:
        "results/benchmarks/bank/{dataset}/{model}/{attack}/{smoothing}/{explained}/{shard}.jsonl"
    wildcard_constraints:
        smoothing=one_of([*STUDY.smoothings, "none"]),
    conda:
        "../envs/vitfaith.yaml"
    resources:
        **OF_A_DEVICE,
        **BATCHES,
        **needs_of("bank"),
    params:
        spec=spec_of("bank"),
        code=code_of("bank"),
        options=options("bank"),
    message:
        "Response bank of {wildcards.model}: {wildcards.dataset} {wildcards.shard}, {wildcards.attack}, {wildcards.explained}"
    shell:
        "python -m vitfaith bank --spec {params.spec:q} --code {params.code:q}"
        " --images {input.images:q} {params.options:q} --out {output:q}"
        + ON_DEVICE
        + " > {log:q} 2>&1"
