# Needs: every run, score and selection of the study; the test labels, which no step that trains or chooses has read.
# Makes: the result tables and the report.

TABLES = [
    "molecules",
    "rejected",
    "splits",
    "audit",
    "audit_identity",
    "audit_shift",
    "nearest_training",
    "pool_treatment",
    *(["audit_labels", "label_sources"] if LABELLED_POOL else []),
    "learning_curves",
    "metrics",
    "predictions",
    "comparisons",
    "influence",
    "influence_diagnostics",
    *(["influence_on_test"] if config["influence"]["test_molecules"] else []),
    "selections",
    "failures",
    *(["retraining", "influence_validation"] if config["validation"]["run"] and VALIDATED_SCORES else []),
    *(["pool_control"] if CONTROL else []),
]

# Folders of the runs below a seed. Fine-tuning the adapted encoder on no pool molecule is the control `none`.
RUNS = [
    "finetune/baseline",
    "finetune/adapted",
    # A pool without labels is ordered, and nothing is trained on it.
    *(f"selected/full/{strategy}" for strategy in config["selection"]["run"] if strategy != "none" and LABELLED_POOL),
    *(f"selected/{m}/{s}" for m in config["grid"]["run"] for s in config["grid"]["selections"]),
]
BASELINES = [f"descriptors/{name}" for name in config["baselines"]["run"]]


rule splits_table:
    input:
        splits=expand(f"{SPLIT}/split.parquet", **SPLITS),
    output:
        table=f"{RESULTS}/tables/splits.parquet",
    log:
        f"{RESULTS}/logs/splits_table.log",
    group:
        "audit"
    conda:
        ENVIRONMENT
    resources:
        **needs("splits_table"),
    params:
        spec=spec(),
        code=code("splits_table"),
    script:
        "../workflow_scripts/splits_table.py"


rule learning_curves_table:
    input:
        regression=expand(f"{SEED}/{{run}}/curve.parquet", run=RUNS, **REPLICATES),
        mlm=expand(f"{SEED}/mlm/curve.parquet", **REPLICATES),
    output:
        table=f"{RESULTS}/tables/learning_curves.parquet",
    log:
        f"{RESULTS}/logs/learning_curves_table.log",
    group:
        "tables"
    conda:
        ENVIRONMENT
    resources:
        **needs("learning_curves_table"),
    params:
        spec=spec(),
        code=code("learning_curves_table"),
    script:
        "../workflow_scripts/learning_curves_table.py"


rule metrics_table:
    input:
        predictions=expand(f"{SEED}/{{run}}/predictions.parquet", run=RUNS + BASELINES, **REPLICATES),
        runs=expand(f"{SEED}/{{run}}/run.json", run=RUNS + BASELINES, **REPLICATES),
        validation=expand(f"{SPLIT}/validation.parquet", **SPLITS),
        test_labels=expand(f"{SPLIT}/test_labels.parquet", **SPLITS),
    output:
        metrics=f"{RESULTS}/tables/metrics.parquet",
        predictions=f"{RESULTS}/tables/predictions.parquet",
    log:
        f"{RESULTS}/logs/metrics_table.log",
    group:
        "tables"
    conda:
        ENVIRONMENT
    resources:
        **needs("metrics_table"),
    params:
        spec=spec(study=config["study"]),
        code=code("metrics_table"),
    script:
        "../workflow_scripts/metrics_table.py"


rule comparisons_table:
    input:
        metrics=f"{RESULTS}/tables/metrics.parquet",
        splits=f"{RESULTS}/tables/splits.parquet",
    output:
        table=f"{RESULTS}/tables/comparisons.parquet",
    log:
        f"{RESULTS}/logs/comparisons_table.log",
    group:
        "tables"
    conda:
        ENVIRONMENT
    resources:
        **needs("comparisons_table"),
    params:
        spec=spec(statistics=config["statistics"]),
        code=code("comparisons_table"),
    script:
        "../workflow_scripts/comparisons_table.py"


rule influence_tables:
    input:
        scores=expand(
            f"{SEED}/influence/{{origin}}/{{checkpoint}}/{{estimator}}/scores.parquet",
            origin=config["influence"]["origins"],
            checkpoint=CHECKPOINTS,
            estimator=config["influence"]["run"],
            **REPLICATES,
        ),
        aggregates=expand(
            f"{SEED}/influence/{{origin}}/aggregate/{{estimator}}.parquet",
            origin=config["influence"]["origins"],
            estimator=config["influence"]["run"],
            **REPLICATES,
        ),
        diagnostics=expand(
            f"{SEED}/influence/{{origin}}/{{checkpoint}}/{{estimator}}/diagnostics.parquet",
            origin=config["influence"]["origins"],
            checkpoint=CHECKPOINTS,
            estimator=config["influence"]["run"],
            **REPLICATES,
        ),
    output:
        scores=f"{RESULTS}/tables/influence.parquet",
        diagnostics=f"{RESULTS}/tables/influence_diagnostics.parquet",
    log:
        f"{RESULTS}/logs/influence_tables.log",
    group:
        "tables"
    conda:
        ENVIRONMENT
    resources:
        **needs("influence_tables"),
    params:
        spec=spec(),
        code=code("influence_tables"),
    script:
        "../workflow_scripts/influence_tables.py"


rule influence_on_test_table:
    input:
        tables=expand(
            f"{SEED}/influence/{{origin}}/{{checkpoint}}/on_test.parquet",
            origin=config["selection"]["origin"],
            checkpoint=max(CHECKPOINTS),
            **REPLICATES,
        ),
    output:
        table=f"{RESULTS}/tables/influence_on_test.parquet",
    log:
        f"{RESULTS}/logs/influence_on_test_table.log",
    group:
        "tables"
    conda:
        ENVIRONMENT
    resources:
        **needs("influence_on_test_table"),
    params:
        spec=spec(),
        code=code("influence_on_test_table"),
    script:
        "../workflow_scripts/influence_on_test_table.py"


rule selections_table:
    input:
        selections=expand(f"{SEED}/selection/{{strategy}}.parquet", strategy=STRATEGIES, **REPLICATES),
    output:
        table=f"{RESULTS}/tables/selections.parquet",
    log:
        f"{RESULTS}/logs/selections_table.log",
    group:
        "tables"
    conda:
        ENVIRONMENT
    resources:
        **needs("selections_table"),
    params:
        spec=spec(),
        code=code("selections_table"),
    script:
        "../workflow_scripts/selections_table.py"


rule failures_table:
    input:
        # What may hold the mark of a failure: a file of each optional step.
        runs=expand(f"{SEED}/{{run}}/run.json", run=RUNS + BASELINES, **REPLICATES),
        selections=expand(f"{SEED}/selection/{{strategy}}.parquet", strategy=STRATEGIES, **REPLICATES),
        scores=expand(
            f"{SEED}/influence/{{origin}}/{{checkpoint}}/{{estimator}}/scores.parquet",
            origin=config["influence"]["origins"],
            checkpoint=CHECKPOINTS,
            estimator=config["influence"]["run"],
            **REPLICATES,
        ),
        retraining=VALIDATION_LOSSES if "retraining" in TABLES else [],
        tables=[
            f"{RESULTS}/tables/{name}.parquet"
            for name in TABLES
            if name in ("audit_shift", "comparisons", "influence_on_test", "influence_validation")
        ],
    output:
        table=f"{RESULTS}/tables/failures.parquet",
    log:
        f"{RESULTS}/logs/failures_table.log",
    group:
        "tables"
    conda:
        ENVIRONMENT
    resources:
        **needs("failures_table"),
    params:
        spec=spec(),
        code=code("failures_table"),
    script:
        "../workflow_scripts/failures_table.py"


rule report:
    input:
        tables=expand(f"{RESULTS}/tables/{{table}}.parquet", table=TABLES),
        config=f"{RESULTS}/config.yaml",
    output:
        report=f"{RESULTS}/report.html",
    log:
        f"{RESULTS}/logs/report.log",
    group:
        "tables"
    conda:
        ENVIRONMENT
    resources:
        **needs("report"),
    params:
        spec=spec(),
        code=code("report"),
    script:
        "../workflow_scripts/report.py"
