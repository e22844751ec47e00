# Needs: the pool, and what a strategy asks for: training or validation molecules, the fine-tuned
# model, aggregated influence, Gram matrices.
# Makes: one ordered and cut pool per strategy and seed.


rule selection:
    input:
        pool=POOL,
        model=model_inputs,
        influence=influence_inputs,
        training=training_inputs,
        validation=validation_inputs,
        gram=selection_gram_inputs,
    output:
        selection=f"{SEED}/selection/{{strategy}}.parquet",
    log:
        f"{RESULTS}/logs/selection/{{splitter}}/{{split_seed}}/{{seed}}/{{strategy}}.log",
    cache: CACHE
    group:
        selection_group
    conda:
        ENVIRONMENT
    threads: THREADS
    resources:
        **needs("selection"),
        gpu=selection_gpu,
    params:
        key=cache_key,
        spec=lambda wildcards: spec(
            module=strategy_module(wildcards.strategy),
            budget=config["selection"]["strategies"][wildcards.strategy].get("budget"),
            options=configuration.options_of(
                config["selection"]["strategies"][wildcards.strategy], configuration.STRATEGY_KEYS
            ),
            **(
                {"family": FAMILY, "compute": COMPUTE, "dropout": config["finetune"]["dropout"]}
                if strategy_uses_model(wildcards.strategy)
                else {}
            ),
        ),
        code=lambda wildcards: code(
            "selection",
            f"selection.{strategy_module(wildcards.strategy)}",
            *((f"models.encoders.{FAMILY}", "methods.full") if strategy_uses_model(wildcards.strategy) else ()),
        ),
    script:
        "../workflow_scripts/selection.py"
