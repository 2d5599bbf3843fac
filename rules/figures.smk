rule figures:
    input:
        figure_tables,
    output:
        pdf="results/figures/{experiment}/{figure}.pdf",
        svg="results/figures/{experiment}/{figure}.svg",
        caption="results/figures/{experiment}/{figure}.rst",
        record="results/figures/{experiment}/.{figure}.json",
        png=report(
            "results/figures/{experiment}/{figure}.png",
            category="{experiment}",
            subcategory=paper_of,
            labels={"figure": "{figure}"},
            caption="../workflow/report/figure.rst",
        ),
    log:
        "logs/figures/{experiment}/{figure}.log",
    benchmark:
        "results/benchmarks/figures/{experiment}/{figure}.jsonl"
    conda:
        "../envs/vitfaith.yaml"
    resources:
        **needs_of("figures"),
    params:
        spec=spec_of("figures"),
        code=code_of("figures"),
        tables=tables_folder,
        stem=subpath(output.png, strip_suffix=".png"),
        caption=caption_of,
    message:
        "Figure {wildcards.figure} of experiment {wildcards.experiment}"
    shell:
        "python -m vitfaith figures --spec {params.spec:q} --code {params.code:q} --tables {params.tables:q}"
        " --out {params.stem:q} > {log:q} 2>&1"
