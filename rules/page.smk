rule page:
    input:
        multiext(
            "results/tables/experiment={experiment}/",
            "summary.parquet",
            "curves.parquet",
            "gallery.parquet",
        ),
    output:
        ensure("results/pages/{experiment}.html", non_empty=True),
    log:
        "logs/page/{experiment}.log",
    benchmark:
        "results/benchmarks/page/{experiment}.jsonl"
    conda:
        "../envs/vitfaith.yaml"
    params:
        spec=spec_of("page"),
        code=code_of("page"),
        tables=tables_folder,
    message:
        "Page of experiment {wildcards.experiment}"
    shell:
        "python -m vitfaith page --spec {params.spec:q} --code {params.code} --tables {params.tables} --out {output}"
        " > {log} 2>&1"
