# Needs: the folds, the encoder and the adapted encoders, the selections.
# Makes, where tuning.run names methods: the learning rate of each. Then the baseline and the adapted regressor with the
# checkpoints that influence reads; the full fine-tuning on each selection; the grid of parameter-efficient methods by
# selections.


if PLAN.tuned:

    rule tune:
        input:
            train=f"{SPLIT}/train.parquet",
            validation=f"{SPLIT}/validation.parquet",
            encoder=PLAN.origin_encoder,
            regressor=PLAN.tuned_regressor,
        output:
            table=f"{SEED}/tuning/{{origin}}/{{method}}.parquet",
        log:
            f"{RESULTS}/logs/tune/{{splitter}}/{{split_seed}}/{{seed}}/{{origin}}/{{method}}.log",
        cache: CACHE
        conda:
            ENVIRONMENT
        threads: THREADS
        resources:
            **needs("tune"),
        params:
            key=cache_key,
            spec=lambda wildcards: spec(**PLAN.tuning(wildcards.method)),
            code=code("tune"),
        script:
            "../workflow_scripts/tune.py"


rule finetune:
    input:
        train=f"{SPLIT}/train.parquet",
        limits=PLAN.limits,
        validation=f"{SPLIT}/validation.parquet",
        test=f"{SPLIT}/test.parquet",
        encoder=PLAN.origin_encoder,
        tuning=PLAN.tuned_rate,
    output:
        **{f"checkpoint_{c}": f"{SEED}/finetune/{{origin}}/checkpoint-{c}.safetensors" for c in PLAN.checkpoints},
        model=f"{SEED}/finetune/{{origin}}/model.safetensors",
        curve=f"{SEED}/finetune/{{origin}}/curve.parquet",
        predictions=f"{SEED}/finetune/{{origin}}/predictions.parquet",
        run=f"{SEED}/finetune/{{origin}}/run.json",
    log:
        f"{RESULTS}/logs/finetune/{{splitter}}/{{split_seed}}/{{seed}}/{{origin}}.log",
    cache: CACHE
    conda:
        ENVIRONMENT
    threads: THREADS
    resources:
        **needs("finetune"),
    params:
        key=cache_key,
        spec=spec(finetune=config["finetune"], family=FAMILY, compute=COMPUTE),
        code=code("finetune"),
    script:
        "../workflow_scripts/finetune.py"


rule finetune_on_selection:
    input:
        train=f"{SPLIT}/train.parquet",
        limits=PLAN.limits,
        validation=f"{SPLIT}/validation.parquet",
        test=f"{SPLIT}/test.parquet",
        pool=POOL,
        selection=f"{SEED}/selection/{{strategy}}.parquet",
        encoder=PLAN.origin_encoder,
        regressor=PLAN.cell_regressor,
        tuning=PLAN.tuned_rate,
        trained=PLAN.cell_trained,
    output:
        model=f"{SEED}/selected/{{method}}/{{strategy}}/model.safetensors",
        curve=f"{SEED}/selected/{{method}}/{{strategy}}/curve.parquet",
        predictions=f"{SEED}/selected/{{method}}/{{strategy}}/predictions.parquet",
        run=f"{SEED}/selected/{{method}}/{{strategy}}/run.json",
    log:
        f"{RESULTS}/logs/finetune_on_selection/{{splitter}}/{{split_seed}}/{{seed}}/{{method}}/{{strategy}}.log",
    cache: CACHE
    group:
        group("finetune_on_selection")
    conda:
        ENVIRONMENT
    threads: THREADS
    resources:
        **needs("finetune_on_selection"),
    params:
        key=cache_key,
        spec=lambda wildcards: spec(**PLAN.selected(wildcards.method)),
        code=code("finetune_on_selection"),
    script:
        "../workflow_scripts/finetune_on_selection.py"
