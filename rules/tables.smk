# Needs: every run, score and selection of the study; the test labels, here and nowhere before.
# Makes: the result tables and the report.

TABLES = [
    "molecules",
    "rejected",
    "splits",
    "learning_curves",
    "metrics",
    "predictions",
    "influence",
    "influence_diagnostics",
    "selections",
] + (["pool_control"] if EMBEDDED else [])

SPLITS = dict(splitter=config["split"]["splitters"], split_seed=config["split"]["seeds"])
REPLICATES = SPLITS | dict(seed=config["seeds"])

# Folders of the runs below a seed. Fine-tuning the adapted encoder on no pool molecule is the control `none`.
RUNS = (
    [f"finetune/{origin}" for origin in ("baseline", "adapted")]
    + [f"selected/full/{strategy}" for strategy in config["selection"]["run"] if strategy != "none"]
    + [f"selected/{m}/{s}" for m in config["grid"]["run"] for s in config["grid"]["selections"]]
)
BASELINES = [f"descriptors/{name}" for name in config["baselines"]["run"]]


rule splits_table:
    input:
        splits=expand(SPLIT + "/split.parquet", **SPLITS),
    output:
        table=RESULTS + "/tables/splits.parquet",
    log:
        RESULTS + "/logs/splits_table.log",
    params:
        spec=spec(),
        code=code("splits_table"),
    conda:
        ENVIRONMENT
    script:
        "../workflow_scripts/splits_table.py"


rule learning_curves_table:
    input:
        regression=expand(SEED + "/{run}/curve.parquet", run=RUNS, **REPLICATES),
        mlm=expand(SEED + "/mlm/curve.parquet", **REPLICATES),
    output:
        table=RESULTS + "/tables/learning_curves.parquet",
    log:
        RESULTS + "/logs/learning_curves_table.log",
    params:
        spec=spec(),
        code=code("learning_curves_table"),
    conda:
        ENVIRONMENT
    script:
        "../workflow_scripts/learning_curves_table.py"


rule metrics_table:
    input:
        predictions=expand(SEED + "/{run}/predictions.parquet", run=RUNS + BASELINES, **REPLICATES),
        runs=expand(SEED + "/{run}/run.json", run=RUNS + BASELINES, **REPLICATES),
        validation=expand(SPLIT + "/validation.parquet", **SPLITS),
        test_labels=expand(SPLIT + "/test_labels.parquet", **SPLITS),
    output:
        metrics=RESULTS + "/tables/metrics.parquet",
        predictions=RESULTS + "/tables/predictions.parquet",
    log:
        RESULTS + "/logs/metrics_table.log",
    params:
        spec=spec(study=config["study"]),
        code=code("metrics_table"),
    conda:
        ENVIRONMENT
    script:
        "../workflow_scripts/metrics_table.py"


rule influence_tables:
    input:
        scores=expand(
            SEED + "/influence/{origin}/{checkpoint}/{estimator}/scores.parquet",
            origin=config["influence"]["origins"],
            checkpoint=CHECKPOINTS,
            estimator=config["influence"]["run"],
            **REPLICATES,
        ),
        aggregates=expand(
            SEED + "/influence/{origin}/aggregate/{estimator}.parquet",
            origin=config["influence"]["origins"],
            estimator=config["influence"]["run"],
            **REPLICATES,
        ),
        diagnostics=expand(
            SEED + "/influence/{origin}/{checkpoint}/{estimator}/diagnostics.parquet",
            origin=config["influence"]["origins"],
            checkpoint=CHECKPOINTS,
            estimator=config["influence"]["run"],
            **REPLICATES,
        ),
    output:
        scores=RESULTS + "/tables/influence.parquet",
        diagnostics=RESULTS + "/tables/influence_diagnostics.parquet",
    log:
        RESULTS + "/logs/influence_tables.log",
    params:
        spec=spec(),
        code=code("influence_tables"),
    conda:
        ENVIRONMENT
    script:
        "../workflow_scripts/influence_tables.py"


rule selections_table:
    input:
        selections=expand(SEED + "/selection/{strategy}.parquet", strategy=STRATEGIES, **REPLICATES),
    output:
        table=RESULTS + "/tables/selections.parquet",
    log:
        RESULTS + "/logs/selections_table.log",
    params:
        spec=spec(),
        code=code("selections_table"),
    conda:
        ENVIRONMENT
    script:
        "../workflow_scripts/selections_table.py"


rule report:
    input:
        tables=expand(RESULTS + "/tables/{table}.parquet", table=TABLES),
        config=RESULTS + "/config.yaml",
    output:
        report=RESULTS + "/report.html",
    log:
        RESULTS + "/logs/report.log",
    params:
        spec=spec(),
        code=code("report"),
    conda:
        ENVIRONMENT
    script:
        "../workflow_scripts/report.py"
