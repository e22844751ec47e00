# Needs: tables/molecules, the folds.
# Makes: RDKit descriptors of the target, and the descriptor models that keep the language models honest.


rule descriptors:
    input:
        molecules=RESULTS + "/tables/molecules.parquet",
    output:
        descriptors=RESULTS + "/data/descriptors.parquet",
    log:
        RESULTS + "/logs/descriptors.log",
    params:
        spec=spec(),
        code=code("descriptors"),
    conda:
        ENVIRONMENT
    script:
        "../workflow_scripts/descriptors.py"


rule baseline:
    input:
        descriptors=RESULTS + "/data/descriptors.parquet",
        train=SPLIT + "/train.parquet",
        validation=SPLIT + "/validation.parquet",
        test=SPLIT + "/test.parquet",
    output:
        predictions=SEED + "/descriptors/{baseline}/predictions.parquet",
        run=SEED + "/descriptors/{baseline}/run.json",
    log:
        RESULTS + "/logs/baseline/{splitter}/{split_seed}/{seed}/{baseline}.log",
    threads: THREADS
    params:
        spec=lambda wildcards: spec(options=config["baselines"]["methods"][wildcards.baseline]),
        code=lambda wildcards: code("baseline", f"baselines.{wildcards.baseline}"),
    conda:
        ENVIRONMENT
    script:
        "../workflow_scripts/baseline.py"
