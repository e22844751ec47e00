# Needs: the folds, the encoder and the adapted encoders, the selections.
# Makes: the baseline and the adapted regressor with the checkpoints that influence reads; the full fine-tuning on each
# selection; the grid of parameter-efficient methods by selections.


rule finetune:
    input:
        train=SPLIT + "/train.parquet",
        validation=SPLIT + "/validation.parquet",
        test=SPLIT + "/test.parquet",
        encoder=origin_encoder,
        checked=ancient(RESULTS + "/data/budgets.json"),
    output:
        model=SEED + "/finetune/{origin}/model.safetensors",
        checkpoints=expand(SEED + "/finetune/{{origin}}/checkpoint-{checkpoint}.safetensors", checkpoint=CHECKPOINTS, allow_missing=True),
        curve=SEED + "/finetune/{origin}/curve.parquet",
        predictions=SEED + "/finetune/{origin}/predictions.parquet",
        run=SEED + "/finetune/{origin}/run.json",
    log:
        RESULTS + "/logs/finetune/{splitter}/{split_seed}/{seed}/{origin}.log",
    benchmark:
        RESULTS + "/benchmarks/finetune/{splitter}/{split_seed}/{seed}/{origin}.tsv"
    threads: THREADS
    resources:
        gpu=gpu,
    params:
        spec=spec(finetune=config["finetune"], family=FAMILY, compute=config["compute"]),
        code=code("finetune", f"encoders.{FAMILY}", "methods.full"),
    conda:
        ENVIRONMENT
    script:
        "../workflow_scripts/finetune.py"


def cell_regressor(wildcards):
    """The fine-tuned regressor that a grid cell starts from, where the configuration says so."""
    if wildcards.method == "full" or config["grid"]["start"] == "encoder":
        return []
    return [SEED.format(**wildcards) + "/finetune/adapted/model.safetensors"]


def cell_spec(wildcards):
    """Hyperparameters of one cell: of full fine-tuning, or of its own method."""
    if wildcards.method == "full":
        method, options, training = "full", {}, {k: v for k, v in config["finetune"].items() if k != "dropout"}
    else:
        entry = config["grid"]["methods"][wildcards.method]
        method = configuration.module_of(entry, wildcards.method, "method")
        options = configuration.options_of(entry, configuration.METHOD_KEYS)
        training = configuration.training_of(config, wildcards.method)
    training.pop("checkpoints", None)
    return spec(
        method=method,
        options=options,
        training=training,
        dropout=config["finetune"]["dropout"],
        family=FAMILY,
        compute=config["compute"],
    )


def cell_module(wildcards):
    """Module of a cell's method."""
    if wildcards.method == "full":
        return "methods.full"
    return "methods." + configuration.module_of(
        config["grid"]["methods"][wildcards.method], wildcards.method, "method"
    )


rule finetune_on_selection:
    input:
        train=SPLIT + "/train.parquet",
        validation=SPLIT + "/validation.parquet",
        test=SPLIT + "/test.parquet",
        pool=RESULTS + "/data/pool.parquet",
        selection=SEED + "/selection/{strategy}.parquet",
        encoder=origin_encoder,
        regressor=cell_regressor,
    output:
        model=SEED + "/selected/{method}/{strategy}/model.safetensors",
        curve=SEED + "/selected/{method}/{strategy}/curve.parquet",
        predictions=SEED + "/selected/{method}/{strategy}/predictions.parquet",
        run=SEED + "/selected/{method}/{strategy}/run.json",
    log:
        RESULTS + "/logs/finetune_on_selection/{splitter}/{split_seed}/{seed}/{method}/{strategy}.log",
    benchmark:
        RESULTS + "/benchmarks/finetune_on_selection/{splitter}/{split_seed}/{seed}/{method}/{strategy}.tsv"
    threads: THREADS
    resources:
        gpu=gpu,
    params:
        spec=cell_spec,
        code=lambda wildcards: code("finetune_on_selection", f"encoders.{FAMILY}", cell_module(wildcards)),
    conda:
        ENVIRONMENT
    script:
        "../workflow_scripts/finetune_on_selection.py"
