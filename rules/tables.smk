rule tables:
    input:
        experiment_results,
        training_logs,
    output:
        multiext(
            "results/tables/experiment={experiment}/",
            "scores.parquet",
            "stability.parquet",
            "sanity.parquet",
            "predictions.parquet",
            "curves.parquet",
            "gallery.parquet",
            "statistics.parquet",
            "explained.parquet",
            "agreement.parquet",
            "costs.parquet",
            "certificates.parquet",
            "attacks.parquet",
            "smoothings.parquet",
            "trainings.parquet",
            "pairs.parquet",
            "certified.csv",
            "maps.csv",
            "summary.parquet",
            "summary.csv",
            "leaderboards.md",
            "leaderboards.tex",
            ".record.json",
        ),
    log:
        "logs/tables/{experiment}.log",
    benchmark:
        "results/benchmarks/tables/{experiment}.jsonl"
    conda:
        "../envs/vitfaith.yaml"
    resources:
        **needs_of("tables"),
    params:
        spec=spec_of("tables"),
        code=code_of("tables"),
        folder=subpath(output[0], parent=True),
    message:
        "Tables of experiment {wildcards.experiment}"
    shell:
        "python -m vitfaith tables --spec {params.spec:q} --code {params.code:q} --out {params.folder:q} > {log:q} 2>&1"
