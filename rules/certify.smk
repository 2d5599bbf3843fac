rule certify:
    input:
        images="results/attack/dataset={dataset}/model={model}/attack={attack}/{shard}.parquet",
        predictions="results/predictions/dataset={dataset}/model={model}/attack={attack}/smoothing={smoothing}/{shard}.parquet",
        given=given("certify"),
    output:
        ensure(
            "results/certificates/dataset={dataset}/model={model}/attack={attack}/smoothing={smoothing}/explained={explained}/{shard}.parquet",
            non_empty=True,
        ),
    log:
        "logs/certify/{dataset}/{model}/{attack}/{smoothing}/{explained}/{shard}.log",
    benchmark:
        "results/benchmarks/certify/{dataset}/{model}/{attack}/{smoothing}/{explained}/{shard}.jsonl"
    wildcard_constraints:
        smoothing=one_of(PLAN.smoothings),
    conda:
        "../envs/vitfaith.yaml"
    resources:
        **needs_of("certify"),
    params:
        spec=spec_of("certify"),
        code=code_of("certify"),
        options=options("certify"),
    message:
        "Certify {wildcards.dataset} {wildcards.shard}: {wildcards.model}, {wildcards.attack}, {wildcards.smoothing}, {wildcards.explained}"
    shell:
        "python -m vitfaith certify --spec {params.spec:q} --code {params.code:q} --images {input.images:q}"
        " --predictions {input.predictions:q} {params.options:q} --out {output:q} > {log:q} 2>&1"
