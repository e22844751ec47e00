# Needs: the folds, the pool, the adapted encoders, the influence scores, the orders of the strategies.
# Makes: validation losses after retraining on random subsets of the pool; how well each estimator and strategy predicts them.


rule retrain:
    input:
        train=f"{SPLIT}/train.parquet",
        validation=f"{SPLIT}/validation.parquet",
        pool=POOL,
        encoder=lambda wildcards: folder(below_seed(wildcards, "mlm")),
        regressor=retrained_regressor,
    output:
        loss=f"{SEED}/validation/{{subset}}/{{retrain_seed}}.parquet",
    log:
        f"{RESULTS}/logs/retrain/{{splitter}}/{{split_seed}}/{{seed}}/{{subset}}/{{retrain_seed}}.log",
    cache: CACHE
    group:
        short_group("retrain", "retrain")
    conda:
        ENVIRONMENT
    threads: THREADS
    resources:
        **needs("retrain"),
        gpu=gpu,
    params:
        key=cache_key,
        spec=spec(
            fraction=config["validation"]["fraction"],
            noise=config["validation"]["noise"],
            training={key: value for key, value in config["finetune"].items() if key not in ("checkpoints", "dropout")}
            | config["validation"]["training"],
            dropout=config["finetune"]["dropout"],
            family=FAMILY,
            compute=COMPUTE,
        ),
        code=code("retrain", f"models.encoders.{FAMILY}", "methods.full"),
    script:
        "../workflow_scripts/retrain.py"


rule validate_influence:
    input:
        losses=VALIDATION_LOSSES,
        scores=VALIDATED_SCORES,
        selections=[f"{replicate}/selection/{name}.parquet" for replicate in VALIDATED for name in STRATEGIES],
    output:
        table=f"{RESULTS}/tables/influence_validation.parquet",
        retraining=f"{RESULTS}/tables/retraining.parquet",
    log:
        f"{RESULTS}/logs/validate_influence.log",
    group:
        "tables"
    conda:
        ENVIRONMENT
    resources:
        **needs("validate_influence"),
    params:
        spec=spec(origin=config["selection"]["origin"]),
        code=code("validate_influence"),
    script:
        "../workflow_scripts/validate_influence.py"
