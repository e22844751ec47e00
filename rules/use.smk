# Needs: the folds, the adapted encoder, the selections, the scoring model's last Gram matrix.
# Makes, where use.run names more than mixed: what each use of a selection would give, in closed form; full fine-tuning
# on each selection in each of the other ways.

if PLAN.used:

    rule pool_use:
        input:
            gram=PLAN.last_gram,
            train=f"{SPLIT}/train.parquet",
            validation=f"{SPLIT}/validation.parquet",
            pool=POOL,
            selection=f"{SEED}/selection/{{strategy}}.parquet",
        output:
            use_choices=f"{SEED}/pool_use/{{strategy}}.parquet",
            pool_use_curves=f"{SEED}/pool_use/{{strategy}}-curve.parquet",
            pool_use_residuals=f"{SEED}/pool_use/{{strategy}}-residuals.parquet",
        log:
            f"{RESULTS}/logs/pool_use/{{splitter}}/{{split_seed}}/{{seed}}/{{strategy}}.log",
        group:
            group("pool_use")
        conda:
            ENVIRONMENT
        threads: THREADS
        resources:
            **needs("pool_use"),
        params:
            spec=spec(**PLAN.closed_form),
            code=code("pool_use"),
        script:
            "../workflow_scripts/pool_use.py"

    # As finetune_on_selection, which is the use mixed and keeps its path.
    rule finetune_with_use:
        input:
            train=f"{SPLIT}/train.parquet",
            limits=PLAN.limits,
            validation=f"{SPLIT}/validation.parquet",
            test=f"{SPLIT}/test.parquet",
            pool=POOL,
            selection=f"{SEED}/selection/{{strategy}}.parquet",
            encoder=PLAN.origin_encoder,
            regressor=PLAN.cell_regressor,
            choice=PLAN.use_choice,
            residuals=PLAN.use_residuals,
            tuning=PLAN.tuned_rate,
        output:
            model=f"{SEED}/used/{{use}}/{{method}}/{{strategy}}/model.safetensors",
            curve=f"{SEED}/used/{{use}}/{{method}}/{{strategy}}/curve.parquet",
            predictions=f"{SEED}/used/{{use}}/{{method}}/{{strategy}}/predictions.parquet",
            run=f"{SEED}/used/{{use}}/{{method}}/{{strategy}}/run.json",
        log:
            f"{RESULTS}/logs/finetune_with_use/{{splitter}}/{{split_seed}}/{{seed}}/{{use}}/{{method}}/{{strategy}}.log",
        cache: CACHE
        group:
            group("finetune_with_use")
        conda:
            ENVIRONMENT
        threads: THREADS
        resources:
            **needs("finetune_with_use"),
        params:
            key=cache_key,
            spec=lambda wildcards: spec(**PLAN.cell(wildcards.method), use=PLAN.use(wildcards.use)),
            code=code("finetune_with_use"),
        script:
            "../workflow_scripts/finetune_with_use.py"
