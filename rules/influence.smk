# Needs: the folds, the pool, the checkpoints of the baseline and the adapted regressor.
# Makes: influence of every pool molecule at each checkpoint by each estimator, its diagnostics, and the aggregate.


rule influence:
    input:
        train=SPLIT + "/train.parquet",
        validation=SPLIT + "/validation.parquet",
        pool=RESULTS + "/data/pool.parquet",
        encoder=origin_encoder,
        checkpoint=SEED + "/finetune/{origin}/checkpoint-{checkpoint}.safetensors",
    output:
        scores=SEED + "/influence/{origin}/{checkpoint}/{estimator}/scores.parquet",
        diagnostics=SEED + "/influence/{origin}/{checkpoint}/{estimator}/diagnostics.parquet",
    log:
        RESULTS + "/logs/influence/{splitter}/{split_seed}/{seed}/{origin}/{checkpoint}/{estimator}.log",
    benchmark:
        RESULTS + "/benchmarks/influence/{splitter}/{split_seed}/{seed}/{origin}/{checkpoint}/{estimator}.tsv"
    threads: THREADS
    resources:
        gpu=gpu,
    params:
        spec=lambda wildcards: spec(
            options=config["influence"]["estimators"][wildcards.estimator],
            hessian_molecules=config["influence"]["hessian_molecules"],
            batch_size=config["influence"]["batch_size"],
            tolerance=config["influence"]["tolerance"],
            family=FAMILY,
            compute=config["compute"],
        ),
        code=lambda wildcards: code(
            "influence", f"encoders.{FAMILY}", "methods.full", f"influence.{wildcards.estimator}"
        ),
    conda:
        ENVIRONMENT
    script:
        "../workflow_scripts/influence.py"


rule aggregate_influence:
    input:
        scores=expand(
            SEED + "/influence/{{origin}}/{checkpoint}/{{estimator}}/scores.parquet",
            checkpoint=CHECKPOINTS,
            allow_missing=True,
        ),
    output:
        scores=SEED + "/influence/{origin}/aggregate/{estimator}.parquet",
    log:
        RESULTS + "/logs/aggregate_influence/{splitter}/{split_seed}/{seed}/{origin}/{estimator}.log",
    params:
        spec=spec(aggregate=config["influence"]["aggregate"]),
        code=code("aggregate_influence"),
    conda:
        ENVIRONMENT
    script:
        "../workflow_scripts/aggregate_influence.py"
