rule sanity:
    input:
        images="results/attack/dataset={dataset}/model={model}/attack={attack}/{shard}.parquet",
        given=given("sanity"),
    output:
        ensure(
            "results/sanity/dataset={dataset}/model={model}/attack={attack}/smoothing={smoothing}/explained={explained}/family={family}/{shard}.parquet",
            non_empty=True,
        ),
    log:
        "logs/sanity/{dataset}/{model}/{attack}/{smoothing}/{explained}/{family}/{shard}.log",
    benchmark:
        "results/benchmarks/sanity/{dataset}/{model}/{attack}/{smoothing}/{explained}/{family}/{shard}.jsonl"
    conda:
        "../envs/vitfaith.yaml"
    resources:
        **OF_A_DEVICE,
        **BATCHES,
        **needs_of("sanity"),
    params:
        spec=spec_of("sanity"),
        code=code_of("sanity"),
        options=options("sanity"),
    message:
        "Sanity checks of family {wildcards.family}: {wildcards.dataset} {wildcards.shard}, {wildcards.model}, {wildcards.attack}, {wildcards.explained}"
    shell:
        "python -m vitfaith sanity --spec {params.spec:q} --code {params.code:q}"
        " --images {input.images:q} {params.options:q} --out {output:q}"
        + ON_DEVICE
        + " > {log:q} 2>&1"
