# Needs: tables/molecules, the folds.
# Makes: RDKit descriptors of the target, and the descriptor models that keep the language models honest.


rule descriptors:
    input:
        molecules=f"{RESULTS}/tables/molecules.parquet",
    output:
        descriptors=f"{RESULTS}/data/descriptors.parquet",
    log:
        f"{RESULTS}/logs/descriptors.log",
    group:
        group("descriptors")
    conda:
        ENVIRONMENT
    resources:
        **needs("descriptors"),
    params:
        spec=spec(),
        code=code("descriptors"),
    script:
        "../workflow_scripts/descriptors.py"


rule baseline:
    input:
        descriptors=f"{RESULTS}/data/descriptors.parquet",
        train=f"{SPLIT}/train.parquet",
        validation=f"{SPLIT}/validation.parquet",
        test=f"{SPLIT}/test.parquet",
    output:
        predictions=f"{SEED}/descriptors/{{baseline}}/predictions.parquet",
        run=f"{SEED}/descriptors/{{baseline}}/run.json",
    log:
        f"{RESULTS}/logs/baseline/{{splitter}}/{{split_seed}}/{{seed}}/{{baseline}}.log",
    cache: CACHE
    group:
        group("baseline")
    conda:
        ENVIRONMENT
    threads: THREADS
    resources:
        **needs("baseline"),
    params:
        key=cache_key,
        spec=lambda wildcards: spec(options=config["baselines"]["methods"][wildcards.baseline]),
        code=code("baseline"),
    script:
        "../workflow_scripts/baseline.py"
