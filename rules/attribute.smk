rule attribute:
    input:
        images="results/attack/dataset={dataset}/model={model}/attack={attack}/{shard}.parquet",
        given=given("attribute"),
    output:
        ensure(
            "results/attribute/dataset={dataset}/model={model}/attack={attack}/smoothing={smoothing}/explained={explained}/family={family}/{shard}.parquet",
            non_empty=True,
        ),
    log:
        "logs/attribute/{dataset}/{model}/{attack}/{smoothing}/{explained}/{family}/{shard}.log",
    benchmark:
        "results/benchmarks/attribute/{dataset}/{model}/{attack}/{smoothing}/{explained}/{family}/{shard}.jsonl"
    conda:
        "../envs/vitfaith.yaml"
    resources:
        **OF_A_DEVICE,
        **BATCHES,
        **needs_of("attribute"),
    params:
        spec=spec_of("attribute"),
        code=code_of("attribute"),
        options=options("attribute"),
    message:
        "Explain {wildcards.dataset} {wildcards.shard} by family {wildcards.family}: {wildcards.model}, {wildcards.attack}, {wildcards.smoothing}, {wildcards.explained}"
    shell:
        "python -m vitfaith attribute --spec {params.spec:q} --code {params.code:q}"
        " --images {input.images:q} {params.options:q} --out {output:q}"
        + ON_DEVICE
        + " > {log:q} 2>&1"
