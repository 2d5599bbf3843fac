rule page:
    input:
        multiext(
            "results/tables/experiment={experiment}/",
            "summary.parquet",
            "statistics.parquet",
            "conditions.parquet",
            "explained.parquet",
            "curves.parquet",
            "sample.parquet",
            "sample_scores.parquet",
            "sample_pairs.parquet",
            "sample_pictures.parquet",
        ),
    output:
        page=ensure("results/pages/{experiment}.html", non_empty=True),
        record="results/pages/.{experiment}.json",
    log:
        "logs/page/{experiment}.log",
    benchmark:
        "results/benchmarks/page/{experiment}.jsonl"
    conda:
        "../envs/vitfaith.yaml"
    resources:
        **needs_of("page"),
    params:
        spec=spec_of("page"),
        code=code_of("page"),
        tables=tables_folder,
    message:
        "Page of experiment {wildcards.experiment}"
    shell:
        "python -m vitfaith page --spec {params.spec:q} --code {params.code:q} --tables {params.tables:q} --out {output.page:q}"
        " > {log:q} 2>&1"
