# Needs: the folds, the pool, the checkpoints of the baseline and the adapted regressor.
# Makes: the Gram matrix of the gradients at each checkpoint, where an estimator works on it; influence of every pool
# molecule at each checkpoint by each estimator, its diagnostics, and the aggregate.


rule gram:
    input:
        train=f"{SPLIT}/train.parquet",
        validation=f"{SPLIT}/validation.parquet",
        pool=POOL,
        unlabelled=PLAN.unlabelled,
        encoder=PLAN.origin_encoder,
        checkpoint=f"{SEED}/finetune/{{origin}}/checkpoint-{{checkpoint}}.safetensors",
    output:
        matrix=f"{SEED}/influence/{{origin}}/{{checkpoint}}/gram.safetensors",
        facts=f"{SEED}/influence/{{origin}}/{{checkpoint}}/gram.json",
    log:
        f"{RESULTS}/logs/gram/{{splitter}}/{{split_seed}}/{{seed}}/{{origin}}/{{checkpoint}}.log",
    cache: CACHE
    conda:
        ENVIRONMENT
    threads: THREADS
    resources:
        **needs("gram"),
    params:
        key=cache_key,
        spec=spec(
            gram=config["influence"]["gram"],
            parameters=config["influence"]["parameters"],
            batch_size=config["influence"]["batch_size"],
            head=config["finetune"]["head"],
            family=FAMILY,
            compute=COMPUTE,
        ),
        code=code("gram"),
    script:
        "../workflow_scripts/gram.py"


rule influence:
    input:
        train=f"{SPLIT}/train.parquet",
        validation=f"{SPLIT}/validation.parquet",
        pool=POOL,
        encoder=PLAN.origin_encoder,
        checkpoint=f"{SEED}/finetune/{{origin}}/checkpoint-{{checkpoint}}.safetensors",
        gram=lambda wildcards: PLAN.gram(wildcards, "safetensors"),
        gram_facts=lambda wildcards: PLAN.gram(wildcards, "json"),
    output:
        scores=f"{SEED}/influence/{{origin}}/{{checkpoint}}/{{estimator}}/scores.parquet",
        diagnostics=f"{SEED}/influence/{{origin}}/{{checkpoint}}/{{estimator}}/diagnostics.parquet",
    log:
        f"{RESULTS}/logs/influence/{{splitter}}/{{split_seed}}/{{seed}}/{{origin}}/{{checkpoint}}/{{estimator}}.log",
    cache: CACHE
    group:
        group("influence")
    conda:
        ENVIRONMENT
    threads: THREADS
    resources:
        **needs("influence"),
    params:
        key=cache_key,
        spec=lambda wildcards: spec(
            options=config["influence"]["estimators"][wildcards.estimator],
            hessian_molecules=config["influence"]["hessian_molecules"],
            parameters=config["influence"]["parameters"],
            batch_size=config["influence"]["batch_size"],
            head=config["finetune"]["head"],
            tolerance=config["influence"]["tolerance"],
            **PLAN.replayed(wildcards.estimator),
            family=FAMILY,
            compute=COMPUTE,
        ),
        code=code("influence"),
    script:
        "../workflow_scripts/influence.py"


# On demand: which pool molecule helps which validation molecule.
rule influence_per_query:
    input:
        matrix=f"{SEED}/influence/{{origin}}/{{checkpoint}}/gram.safetensors",
        facts=f"{SEED}/influence/{{origin}}/{{checkpoint}}/gram.json",
        pool=POOL,
        validation=f"{SPLIT}/validation.parquet",
    output:
        table=f"{SEED}/influence/{{origin}}/{{checkpoint}}/per_query.parquet",
    log:
        f"{RESULTS}/logs/influence_per_query/{{splitter}}/{{split_seed}}/{{seed}}/{{origin}}/{{checkpoint}}.log",
    conda:
        ENVIRONMENT
    resources:
        **needs("influence_per_query"),
    params:
        spec=spec(damping=config["influence"]["estimators"]["exact"].get("damping")),
        code=code("influence_per_query"),
    script:
        "../workflow_scripts/influence_per_query.py"


# Of single test molecules, for the report: it reads their labels, and nothing else reads what it makes.
rule influence_on_test:
    input:
        train=f"{SPLIT}/train.parquet",
        test=f"{SPLIT}/test.parquet",
        test_labels=f"{SPLIT}/test_labels.parquet",
        pool=POOL,
        encoder=PLAN.origin_encoder,
        checkpoint=f"{SEED}/finetune/{{origin}}/checkpoint-{{checkpoint}}.safetensors",
    output:
        table=f"{SEED}/influence/{{origin}}/{{checkpoint}}/on_test.parquet",
    log:
        f"{RESULTS}/logs/influence_on_test/{{splitter}}/{{split_seed}}/{{seed}}/{{origin}}/{{checkpoint}}.log",
    cache: CACHE
    conda:
        ENVIRONMENT
    threads: THREADS
    resources:
        **needs("influence_on_test"),
    params:
        key=cache_key,
        spec=spec(
            molecules=config["influence"]["test_molecules"],
            damping=config["influence"]["estimators"]["exact"].get("damping"),
            gram=config["influence"]["gram"],
            parameters=config["influence"]["parameters"],
            batch_size=config["influence"]["batch_size"],
            head=config["finetune"]["head"],
            family=FAMILY,
            compute=COMPUTE,
        ),
        code=code("influence_on_test"),
    script:
        "../workflow_scripts/influence_on_test.py"


# On demand: influence at a finished cell of the grid, over the few parameters that its method trains.
rule cell_influence:
    input:
        train=f"{SPLIT}/train.parquet",
        validation=f"{SPLIT}/validation.parquet",
        pool=POOL,
        encoder=PLAN.origin_encoder,
        checkpoint=f"{SEED}/selected/{{method}}/{{strategy}}/model.safetensors",
        regressor=PLAN.cell_regressor,
    output:
        scores=f"{SEED}/selected/{{method}}/{{strategy}}/influence.parquet",
        diagnostics=f"{SEED}/selected/{{method}}/{{strategy}}/influence_diagnostics.parquet",
    log:
        f"{RESULTS}/logs/cell_influence/{{splitter}}/{{split_seed}}/{{seed}}/{{method}}/{{strategy}}.log",
    cache: CACHE
    conda:
        ENVIRONMENT
    threads: THREADS
    resources:
        **needs("cell_influence"),
    params:
        key=cache_key,
        spec=lambda wildcards: spec(**PLAN.cell_influence(wildcards.method)),
        code=code("cell_influence"),
    script:
        "../workflow_scripts/cell_influence.py"


rule aggregate_influence:
    input:
        scores=expand(
            f"{SEED}/influence/{{origin}}/{{checkpoint}}/{{estimator}}/scores.parquet",
            checkpoint=PLAN.checkpoints,
            allow_missing=True,
        ),
        curve=f"{SEED}/finetune/{{origin}}/curve.parquet",
    output:
        scores=f"{SEED}/influence/{{origin}}/aggregate/{{estimator}}.parquet",
    log:
        f"{RESULTS}/logs/aggregate_influence/{{splitter}}/{{split_seed}}/{{seed}}/{{origin}}/{{estimator}}.log",
    group:
        group("aggregate_influence")
    conda:
        ENVIRONMENT
    resources:
        **needs("aggregate_influence"),
    params:
        spec=spec(aggregate=config["influence"]["aggregate"]),
        code=code("aggregate_influence"),
    script:
        "../workflow_scripts/aggregate_influence.py"
