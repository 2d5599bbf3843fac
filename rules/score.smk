rule score:
    input:
        images=images_to_score,
        maps=maps_to_score,
        given=given("score"),
    output:
        scores=ensure(
            "results/scores/dataset={dataset}/model={model}/attack={attack}/smoothing={smoothing}/explained={explained}/family={family}/{shard}.parquet",
            non_empty=True,
        ),
        curves="results/curves/dataset={dataset}/model={model}/attack={attack}/smoothing={smoothing}/explained={explained}/family={family}/{shard}.parquet",
    log:
        "logs/score/{dataset}/{model}/{attack}/{smoothing}/{explained}/{family}/{shard}.log",
    benchmark:
        "results/benchmarks/score/{dataset}/{model}/{attack}/{smoothing}/{explained}/{family}/{shard}.jsonl"
    conda:
        "../envs/vitfaith.yaml"
    resources:
        **OF_A_DEVICE,
        **BATCHES,
        **needs_of("score"),
    params:
        spec=spec_of("score"),
        code=code_of("score"),
        options=options("score"),
    message:
        "Score family {wildcards.family}: {wildcards.dataset} {wildcards.shard}, {wildcards.model}, {wildcards.attack}, {wildcards.smoothing}, {wildcards.explained}"
    shell:
        "python -m vitfaith score --spec {params.spec:q} --code {params.code:q} --images {input.images:q} --maps {input.maps:q}"
        " {params.options:q} --scores {output.scores:q} --curves {output.curves:q}"
        + ON_DEVICE
        + " > {log:q} 2>&1"
