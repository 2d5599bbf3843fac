rule attribute:
    input:
        images="results/attack/dataset={dataset}/model={model}/attack={attack}/{shard}.parquet",
        denoised=denoised_of,
        weights=weights_of,
        learned=learned_of,
    output:
        ensure(
            "results/attribute/dataset={dataset}/model={model}/attack={attack}/smoothing={smoothing}/family={family}/{shard}.parquet",
            non_empty=True,
        ),
    log:
        "logs/attribute/{dataset}/{model}/{attack}/{smoothing}/{family}/{shard}.log",
    benchmark:
        "results/benchmarks/attribute/{dataset}/{model}/{attack}/{smoothing}/{family}/{shard}.jsonl"
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
        spec=spec_of("attribute"),
        code=code_of("attribute"),
        weights=weights_option,
        learned=learned_options,
        denoised=denoised_option,
    message:
        "Explain {wildcards.dataset} {wildcards.shard} by family {wildcards.family}: {wildcards.model}, {wildcards.attack}, {wildcards.smoothing}"
    shell:
        "python -m vitfaith attribute --spec {params.spec:q} --code {params.code:q} --images {input.images:q}"
        " {params.denoised:q} {params.weights:q} {params.learned:q} --out {output:q}"
        + ON_DEVICE
        + " > {log:q} 2>&1"
