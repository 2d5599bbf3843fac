rule score:
    input:
        images="results/attack/dataset={dataset}/model={model}/attack={attack}/{shard}.parquet",
        maps="results/attribute/dataset={dataset}/model={model}/attack={attack}/smoothing={smoothing}/family={family}/{shard}.parquet",
        weights=weights_of,
        bank=score_input("bank"),
        truth=score_input("truth"),
        placeholder=score_input("placeholder"),
        denoiser=denoiser_of("metrics"),
    output:
        scores=ensure(
            "results/scores/dataset={dataset}/model={model}/attack={attack}/smoothing={smoothing}/family={family}/{shard}.parquet",
            non_empty=True,
        ),
        curves="results/curves/dataset={dataset}/model={model}/attack={attack}/smoothing={smoothing}/family={family}/{shard}.parquet",
    log:
        "logs/score/{dataset}/{model}/{attack}/{smoothing}/{family}/{shard}.log",
    benchmark:
        "results/benchmarks/score/{dataset}/{model}/{attack}/{smoothing}/{family}/{shard}.jsonl"
    conda:
        "../envs/vitfaith.yaml"
    resources:
        gpu=1,
        device=STUDY.compute.device,
        fast=STUDY.compute.fast,
        batch_size=BATCH_SIZE,
        part_size=STUDY.compute.part_size,
        mem_mb=memory,
        runtime=minutes,
    params:
        spec=spec_of("score"),
        code=code_of("score"),
        weights=weights_option,
        inputs=score_options,
        denoiser=denoiser_option("metrics"),
    message:
        "Score family {wildcards.family}: {wildcards.dataset} {wildcards.shard}, {wildcards.model}, {wildcards.attack}, {wildcards.smoothing}"
    shell:
        "python -m vitfaith score --spec {params.spec:q} --code {params.code:q} --images {input.images:q} --maps {input.maps:q}"
        " {params.weights:q} {params.inputs:q} {params.denoiser:q} --scores {output.scores:q} --curves {output.curves:q}"
        + ON_DEVICE
        + " > {log:q} 2>&1"
