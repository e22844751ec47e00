# Needs: tables/molecules, the encoder, the folds, the selections.
# Makes: features of the target's molecules, and the descriptor models on them that keep the language models honest;
# where these are also fitted on selections, features of the pool's molecules, and those models.


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
        spec=spec(source="target"),
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
        spec=spec(source="target"),
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
        spec=spec(source="target", family=FAMILY, compute=COMPUTE),
        code=code("embeddings"),
    script:
        "../workflow_scripts/embeddings.py"


use rule descriptors as pool_descriptors with:
    output:
        descriptors=f"{RESULTS}/data/pool_descriptors.parquet",
    log:
        f"{RESULTS}/logs/pool_descriptors.log",
    params:
        spec=spec(source="pool"),


use rule morgan as pool_morgan with:
    output:
        morgan=f"{RESULTS}/data/pool_morgan.parquet",
    log:
        f"{RESULTS}/logs/pool_morgan.log",
    params:
        spec=spec(source="pool"),


use rule embeddings as pool_embeddings with:
    output:
        embeddings=f"{RESULTS}/data/pool_embeddings.parquet",
    log:
        f"{RESULTS}/logs/pool_embeddings.log",
    params:
        spec=spec(source="pool", family=FAMILY, compute=COMPUTE),


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


rule baseline_on_selection:
    input:
        features=lambda wildcards: PLAN.baseline_features(wildcards.baseline),
        train=f"{SPLIT}/train.parquet",
        validation=f"{SPLIT}/validation.parquet",
        test=f"{SPLIT}/test.parquet",
        pool=POOL,
        pool_features=lambda wildcards: PLAN.baseline_features(wildcards.baseline, pool=True),
        selection=f"{SEED}/selection/{{strategy}}.parquet",
    output:
        predictions=f"{SEED}/descriptors/{{baseline}}/{{strategy}}/predictions.parquet",
        run=f"{SEED}/descriptors/{{baseline}}/{{strategy}}/run.json",
    log:
        f"{RESULTS}/logs/baseline_on_selection/{{splitter}}/{{split_seed}}/{{seed}}/{{baseline}}/{{strategy}}.log",
    cache: CACHE
    group:
        group("baseline_on_selection")
    conda:
        ENVIRONMENT
    threads: THREADS
    resources:
        **needs("baseline_on_selection"),
    params:
        key=cache_key,
        spec=lambda wildcards: spec(**PLAN.baseline(wildcards.baseline), **PLAN.largest),
        code=code("baseline_on_selection"),
    script:
        "../workflow_scripts/baseline_on_selection.py"


if PLAN.described_used:

    # All uses of one selection at once: their held-out errors are of the same fits.
    rule baseline_with_uses:
        input:
            features=lambda wildcards: PLAN.baseline_features(wildcards.baseline),
            train=f"{SPLIT}/train.parquet",
            validation=f"{SPLIT}/validation.parquet",
            test=f"{SPLIT}/test.parquet",
            pool=POOL,
            pool_features=lambda wildcards: PLAN.baseline_features(wildcards.baseline, pool=True),
            selection=f"{SEED}/selection/{{strategy}}.parquet",
        output:
            predictions=[
                f"{SEED}/described/{{baseline}}/{{strategy}}/{use}/predictions.parquet" for use in PLAN.described_uses
            ],
            runs=[f"{SEED}/described/{{baseline}}/{{strategy}}/{use}/run.json" for use in PLAN.described_uses],
            use_choices=f"{SEED}/described/{{baseline}}/{{strategy}}/uses.parquet",
            pool_use_curves=f"{SEED}/described/{{baseline}}/{{strategy}}/uses-curve.parquet",
        log:
            f"{RESULTS}/logs/baseline_with_uses/{{splitter}}/{{split_seed}}/{{seed}}/{{baseline}}/{{strategy}}.log",
        group:
            group("baseline_with_uses")
        conda:
            ENVIRONMENT
        threads: THREADS
        resources:
            **needs("baseline_with_uses"),
        params:
            spec=lambda wildcards: spec(**PLAN.baseline(wildcards.baseline), **PLAN.described),
            code=code("baseline_with_uses"),
        script:
            "../workflow_scripts/baseline_with_uses.py"
