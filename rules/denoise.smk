rule denoise:
    input:
        images=images_to_denoise,
        denoiser=denoiser_of("smoothings"),
    output:
        # More samples extend what is there, so the job must find it.
        ensure(
            update(
                "results/denoise/dataset={dataset}/model={model}/attack={attack}/smoothing={smoothing}/{shard}.parquet"
            ),
            non_empty=True,
        ),
    log:
        "logs/denoise/{dataset}/{model}/{attack}/{smoothing}/{shard}.log",
    benchmark:
        "results/benchmarks/denoise/{dataset}/{model}/{attack}/{smoothing}/{shard}.jsonl"
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
        spec=spec_of("denoise"),
        code=code_of("denoise"),
        denoiser=denoiser_option("smoothings"),
    message:
        "Denoise {wildcards.dataset} {wildcards.shard} under {wildcards.attack} on {wildcards.model} ({wildcards.smoothing})"
    shell:
        "python -m vitfaith denoise --spec {params.spec:q} --code {params.code:q}"
        " --images {input.images:q} {params.denoiser:q} --out {output:q}"
        + ON_DEVICE
        + " > {log:q} 2>&1"
