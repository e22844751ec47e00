# Needs: the folds, the pool, the adapted encoders, the influence scores, the orders of the strategies.
# Makes: validation losses after retraining on random subsets of the pool; how well each estimator and strategy predicts them.


rule retrain:
    input:
        train=f"{SPLIT}/train.parquet",
        validation=f"{SPLIT}/validation.parquet",
        pool=POOL,
        encoder=PLAN.origin_encoder,
        regressor=PLAN.retrained_regressor,
    output:
        loss=f"{SEED}/validation/{{subset}}/{{retrain_seed}}.parquet",
    log:
        f"{RESULTS}/logs/retrain/{{splitter}}/{{split_seed}}/{{seed}}/{{subset}}/{{retrain_seed}}.log",
    cache: CACHE
    group:
        group("retrain")
    conda:
        ENVIRONMENT
    threads: THREADS
    resources:
        **needs("retrain"),
    params:
        key=cache_key,
        spec=spec(
            fraction=config["validation"]["fraction"],
            noise=config["validation"]["noise"],
            training={
                key: value for key, value in config["finetune"].items() if key not in ("checkpoints", *PLAN.regressor)
            }
            | config["validation"]["training"],
            **PLAN.regressor,
            family=FAMILY,
            compute=COMPUTE,
        ),
        code=code("retrain"),
    script:
        "../workflow_scripts/retrain.py"


rule validate_influence:
    input:
        losses=PLAN.validation_losses,
        scores=PLAN.validated_scores,
        selections=PLAN.validated_selections,
    output:
        table=f"{RESULTS}/tables/influence_validation.parquet",
        retraining=f"{RESULTS}/tables/retraining.parquet",
    log:
        f"{RESULTS}/logs/validate_influence.log",
    group:
        group("validate_influence")
    conda:
        ENVIRONMENT
    resources:
        **needs("validate_influence"),
    params:
        spec=spec(origin=config["selection"]["origin"]),
        code=code("validate_influence"),
    script:
        "../workflow_scripts/validate_influence.py"
