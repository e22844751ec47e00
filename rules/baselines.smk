# Needs: tables/molecules, the encoder, the folds.
# Makes: features of the target's molecules, and the descriptor models on them that keep the language models honest.


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


rule morgan:
    input:
        molecules=f"{RESULTS}/tables/molecules.parquet",
    output:
        morgan=f"{RESULTS}/data/morgan.parquet",
    log:
        f"{RESULTS}/logs/morgan.log",
    group:
        group("morgan")
    conda:
        ENVIRONMENT
    resources:
        **needs("morgan"),
    params:
        spec=spec(),
        code=code("morgan"),
    script:
        "../workflow_scripts/morgan.py"


rule embeddings:
    input:
        molecules=f"{RESULTS}/tables/molecules.parquet",
        encoder=plan.encoder_folder(ENCODER),
    output:
        embeddings=f"{RESULTS}/data/embeddings.parquet",
    log:
        f"{RESULTS}/logs/embeddings.log",
    conda:
        ENVIRONMENT
    threads: THREADS
    resources:
        **needs("embeddings"),
    params:
        spec=spec(family=FAMILY, compute=COMPUTE),
        code=code("embeddings"),
    script:
        "../workflow_scripts/embeddings.py"


rule baseline:
    input:
        features=lambda wildcards: PLAN.baseline_features(wildcards.baseline),
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
        spec=lambda wildcards: spec(**PLAN.baseline(wildcards.baseline)),
        code=code("baseline"),
    script:
        "../workflow_scripts/baseline.py"
