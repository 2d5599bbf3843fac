rule sanity:
    input:
        images="results/attack/dataset={dataset}/model={model}/attack={attack}/{shard}.parquet",
        weights=weights_of,
        learned=learned_of,
    output:
        ensure(
            "results/sanity/dataset={dataset}/model={model}/attack={attack}/smoothing={smoothing}/family={family}/{shard}.parquet",
            non_empty=True,
        ),
    log:
        "logs/sanity/{dataset}/{model}/{attack}/{smoothing}/{family}/{shard}.log",
    benchmark:
        "results/benchmarks/sanity/{dataset}/{model}/{attack}/{smoothing}/{family}/{shard}.jsonl"
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
        spec=spec_of("sanity"),
        code=code_of("sanity"),
        weights=weights_option,
        learned=learned_options,
    message:
        "Sanity checks of family {wildcards.family}: {wildcards.dataset} {wildcards.shard}, {wildcards.model}, {wildcards.attack}"
    shell:
        "python -m vitfaith sanity --spec {params.spec:q} --code {params.code:q}"
        " --images {input.images:q} {params.weights:q} {params.learned:q} --out {output:q}"
        + ON_DEVICE
        + " > {log:q} 2>&1"
