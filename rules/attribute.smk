rule attribute:
    input:
        images="results/attack/dataset={dataset}/model={model}/attack={attack}/{shard}.parquet",
        denoised=denoised_of,
        weights=weights_of,
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
        batch_size=batch_size_of,
    params:
        spec=spec_of("attribute"),
        code=code_of("attribute"),
        weights=weights_option,
        denoised=denoised_option,
    message:
        "Explain {wildcards.dataset} {wildcards.shard} by family {wildcards.family}: {wildcards.model}, {wildcards.attack}, {wildcards.smoothing}"
    shell:
        "python -m vitfaith attribute --spec {params.spec:q} --code {params.code} --images {input.images}"
        " {params.denoised} {params.weights} --out {output} --gpus {resources.gpu}"
        " --batch-size {resources.batch_size} > {log} 2>&1"
