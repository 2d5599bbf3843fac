rule denoise:
    message:
        "Denoise {wildcards.dataset} {wildcards.shard} under {wildcards.attack} on {wildcards.model} ({wildcards.smoothing})"
    input:
        images=images_to_denoise,
        denoiser=denoiser_of,
    output:
        ensure(
            "results/denoise/dataset={dataset}/model={model}/attack={attack}/smoothing={smoothing}/{shard}.parquet",
            non_empty=True,
        ),
    log:
        "logs/denoise/{dataset}/{model}/{attack}/{smoothing}/{shard}.log",
    benchmark:
        "results/benchmarks/denoise/{dataset}/{model}/{attack}/{smoothing}/{shard}.jsonl"
    params:
        spec=spec_of("denoise"),
        code=code_of("denoise"),
        folder=denoiser_folder,
    resources:
        gpu=1,
        batch_size=batch_size_of,
    conda:
        "../envs/vitfaith.yaml"
    shell:
        "python -m vitfaith denoise --spec {params.spec:q} --code {params.code} --images {input.images}"
        " --denoiser {params.folder} --out {output} --gpus {resources.gpu}"
        " --batch-size {resources.batch_size} > {log} 2>&1"
