# Needs: the pool, and what a strategy asks for: training or validation molecules, the fine-tuned
# model, aggregated influence, Gram matrices.
# Makes: one ordered and cut pool per strategy and seed; what each strategy chose, as lists (`snakemake selected`); a
# list of what to measure next.


rule selection:
    input:
        pool=POOL,
        model=PLAN.selection_model,
        influence=PLAN.selection_influence,
        training=PLAN.selection_training,
        validation=PLAN.selection_validation,
        unlabelled=PLAN.selection_unlabelled,
        gram=PLAN.selection_grams,
        after=PLAN.selection_after,
    output:
        selection=f"{SEED}/selection/{{strategy}}.parquet",
    log:
        f"{RESULTS}/logs/selection/{{splitter}}/{{split_seed}}/{{seed}}/{{strategy}}.log",
    wildcard_constraints:
        strategy=STRATEGY,
    cache: CACHE
    group:
        group("selection")
    conda:
        ENVIRONMENT
    threads: THREADS
    resources:
        **needs("selection"),
    params:
        key=cache_key,
        spec=lambda wildcards: spec(**PLAN.strategy(wildcards.strategy)),
        code=code("selection"),
    script:
        "../workflow_scripts/selection.py"


if PLAN.swept:

    rule selection_at_budget:
        input:
            ordered=PLAN.strategy_of,
        output:
            selection=f"{SEED}/selection/{{strategy}}.parquet",
        log:
            f"{RESULTS}/logs/selection/{{splitter}}/{{split_seed}}/{{seed}}/{{strategy}}.log",
        wildcard_constraints:
            strategy=alternatives(PLAN.swept),
        group:
            group("selection_at_budget")
        conda:
            ENVIRONMENT
        resources:
            **needs("selection_at_budget"),
        params:
            spec=lambda wildcards: spec(budget=PLAN.swept[wildcards.strategy][1]),
            code=code("selection_at_budget"),
        script:
            "../workflow_scripts/selection_at_budget.py"


# On demand: a selection's molecules as a list of what to measure, of the first split and seed.
rule measure_next:
    input:
        **PLAN.measure_inputs,
    output:
        table=f"{RESULTS}/measure_next.csv",
    log:
        f"{RESULTS}/logs/measure_next.log",
    conda:
        ENVIRONMENT
    threads: THREADS
    resources:
        **needs("measure_next"),
    params:
        spec=spec(**PLAN.measuring),
        code=code("measure_next"),
    script:
        "../workflow_scripts/measure_next.py"


if PLAN.lists:

    rule selected:
        input:
            selections=f"{RESULTS}/tables/selections.parquet",
            molecules=f"{RESULTS}/tables/molecules.parquet",
            nearest=f"{RESULTS}/tables/nearest_training.parquet",
        output:
            lists=PLAN.lists,
        log:
            f"{RESULTS}/logs/selected.log",
        group:
            group("selected")
        conda:
            ENVIRONMENT
        resources:
            **needs("selected"),
        params:
            spec=spec(strategies=PLAN.listed, splits=PLAN.each_split),
            code=code("selected"),
        script:
            "../workflow_scripts/selected.py"
