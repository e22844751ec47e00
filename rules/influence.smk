# Needs: the folds, the pool, the checkpoints of the baseline and the adapted regressor.
# Makes: influence of every pool molecule at each checkpoint by each estimator, its diagnostics, and the aggregate.


rule influence:
    input:
        train=f"{SPLIT}/train.parquet",
        validation=f"{SPLIT}/validation.parquet",
        pool=f"{RESULTS}/data/pool.parquet",
        encoder=origin_encoder,
        checkpoint=f"{SEED}/finetune/{{origin}}/checkpoint-{{checkpoint}}.safetensors",
    output:
        scores=f"{SEED}/influence/{{origin}}/{{checkpoint}}/{{estimator}}/scores.parquet",
        diagnostics=f"{SEED}/influence/{{origin}}/{{checkpoint}}/{{estimator}}/diagnostics.parquet",
    log:
        f"{RESULTS}/logs/influence/{{splitter}}/{{split_seed}}/{{seed}}/{{origin}}/{{checkpoint}}/{{estimator}}.log",
    conda:
        ENVIRONMENT
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
            compute=COMPUTE,
        ),
        code=lambda wildcards: code(
            "influence", f"encoders.{FAMILY}", "methods.full", f"influence.{wildcards.estimator}"
        ),
    script:
        "../workflow_scripts/influence.py"


rule aggregate_influence:
    input:
        scores=expand(
            f"{SEED}/influence/{{origin}}/{{checkpoint}}/{{estimator}}/scores.parquet",
            checkpoint=CHECKPOINTS,
            allow_missing=True,
        ),
    output:
        scores=f"{SEED}/influence/{{origin}}/aggregate/{{estimator}}.parquet",
    log:
        f"{RESULTS}/logs/aggregate_influence/{{splitter}}/{{split_seed}}/{{seed}}/{{origin}}/{{estimator}}.log",
    conda:
        ENVIRONMENT
    params:
        spec=spec(aggregate=config["influence"]["aggregate"]),
        code=code("aggregate_influence"),
    script:
        "../workflow_scripts/aggregate_influence.py"
