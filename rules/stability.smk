rule stability:
    input:
        maps="results/attribute/dataset={dataset}/model={model}/attack={attack}/smoothing={smoothing}/explained={explained}/family={family}/{shard}.parquet",
        given=given("stability"),
    output:
        ensure(
            "results/stability/dataset={dataset}/model={model}/attack={attack}/smoothing={smoothing}/explained={explained}/family={family}/{shard}.parquet",
            non_empty=True,
        ),
    log:
        "logs/stability/{dataset}/{model}/{attack}/{smoothing}/{explained}/{family}/{shard}.log",
    benchmark:
        "results/benchmarks/stability/{dataset}/{model}/{attack}/{smoothing}/{explained}/{family}/{shard}.jsonl"
    # short jobs wait, so that the long ones do not leave a core idle at the end
    priority: -1
    conda:
        "../envs/vitfaith.yaml"
    resources:
        **needs_of("stability"),
    params:
        spec=spec_of("stability"),
        code=code_of("stability"),
        options=options("stability"),
    message:
        "Stability of family {wildcards.family}: {wildcards.dataset} {wildcards.shard}, {wildcards.model}, {wildcards.attack}, {wildcards.smoothing}, {wildcards.explained}"
    shell:
        "python -m vitfaith stability --spec {params.spec:q} --code {params.code:q} --maps {input.maps:q} {params.options:q}"
        " --out {output:q} > {log:q} 2>&1"
