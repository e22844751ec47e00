# Needs: the pool, and what a strategy asks for: training molecules, the fine-tuned model, aggregated influence.
# Makes: one ordered and cut pool per strategy and seed.


def strategy_module(name):
    """Module of a strategy."""
    return configuration.module_of(config["selection"]["strategies"][name], name, "strategy")


def strategy_needs(name):
    """What a strategy reads besides the pool."""
    from chemsieve import registry

    return registry.load("selection", strategy_module(name)).NEEDS


def model_inputs(wildcards):
    """The fine-tuned model of the scoring origin and its encoder, for strategies that need it."""
    if "model" not in strategy_needs(wildcards.strategy):
        return []
    seed, origin = SEED.format(**wildcards), config["selection"]["origin"]
    encoder = folder(ENCODER) if origin == "baseline" else folder(f"{seed}/mlm")
    return [f"{seed}/finetune/{origin}/model.safetensors", *encoder]


def influence_inputs(wildcards):
    """Aggregated influence scores, for strategies that need them."""
    if "influence" not in strategy_needs(wildcards.strategy):
        return []
    chosen = config["selection"]
    return [SEED.format(**wildcards) + f"/influence/{chosen['origin']}/aggregate/{chosen['estimator']}.parquet"]


def training_inputs(wildcards):
    """Training molecules, for strategies that need them."""
    needed = "training" in strategy_needs(wildcards.strategy)
    return [SPLIT.format(**wildcards) + "/train.parquet"] if needed else []


rule select:
    input:
        pool=RESULTS + "/data/pool.parquet",
        model=model_inputs,
        influence=influence_inputs,
        training=training_inputs,
    output:
        selection=SEED + "/selection/{strategy}.parquet",
    log:
        RESULTS + "/logs/select/{splitter}/{split_seed}/{seed}/{strategy}.log",
    threads: THREADS
    params:
        spec=lambda wildcards: spec(
            module=strategy_module(wildcards.strategy),
            budget=config["selection"]["strategies"][wildcards.strategy].get("budget"),
            options=configuration.options_of(
                config["selection"]["strategies"][wildcards.strategy], configuration.STRATEGY_KEYS
            ),
            **(
                {"family": FAMILY, "compute": config["compute"]}
                if "model" in strategy_needs(wildcards.strategy)
                else {}
            ),
        ),
        code=lambda wildcards: code(
            "select",
            f"selection.{strategy_module(wildcards.strategy)}",
            *((f"encoders.{FAMILY}", "methods.full") if "model" in strategy_needs(wildcards.strategy) else ()),
        ),
    conda:
        ENVIRONMENT
    script:
        "../workflow_scripts/select.py"
