rule shard:
    output:
        ensure("results/shard/dataset={dataset}/{shard}.parquet", non_empty=True),
    log:
        "logs/shard/{dataset}/{shard}.log",
    benchmark:
        "results/benchmarks/shard/{dataset}/{shard}.jsonl"
    conda:
        "../envs/vitfaith.yaml"
    resources:
        **needs_of("shard"),
    params:
        spec=spec_of("shard"),
        code=code_of("shard"),
    message:
        "Shard {wildcards.shard} of {wildcards.dataset}"
    shell:
        "python -m vitfaith shard --spec {params.spec:q} --code {params.code:q} --out {output:q} > {log:q} 2>&1"
