# Needs: every run, score and selection of the study; the test labels, which no step that trains or chooses has read.
# Makes: the result tables and the report.

TABLES = PLAN.tables
TRAINED = PLAN.runs + PLAN.baselines

# Tables that only join files; chemsieve/tables/declared says which.
for name, parts in PLAN.collected.items():

    rule:
        name:
            f"{name}_table"
        input:
            parts=parts,
        output:
            table=f"{RESULTS}/tables/{name}.parquet",
        log:
            f"{RESULTS}/logs/{name}_table.log",
        group:
            group(f"{name}_table")
        conda:
            ENVIRONMENT
        resources:
            **needs(f"{name}_table"),
        params:
            spec=spec(table=name),
            code=code(f"{name}_table"),
        script:
            "../workflow_scripts/collect_table.py"


rule metrics_table:
    input:
        predictions=PLAN.of_replicates(f"{SEED}/{{run}}/predictions.parquet", run=TRAINED),
        runs=PLAN.of_replicates(f"{SEED}/{{run}}/run.json", run=TRAINED),
        validation=PLAN.of_splits(f"{SPLIT}/validation.parquet"),
        test_labels=PLAN.of_splits(f"{SPLIT}/test_labels.parquet"),
    output:
        **({"limits": f"{RESULTS}/tables/limits.parquet"} if PLAN.censored else {}),
        metrics=f"{RESULTS}/tables/metrics.parquet",
        predictions=f"{RESULTS}/tables/predictions.parquet",
    log:
        f"{RESULTS}/logs/metrics_table.log",
    group:
        group("metrics_table")
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
        predictions=f"{RESULTS}/tables/predictions.parquet",
    output:
        table=f"{RESULTS}/tables/comparisons.parquet",
    log:
        f"{RESULTS}/logs/comparisons_table.log",
    group:
        group("comparisons_table")
    conda:
        ENVIRONMENT
    resources:
        **needs("comparisons_table"),
    params:
        spec=spec(statistics=config["statistics"], planned=PLAN.compared),
        code=code("comparisons_table"),
    script:
        "../workflow_scripts/comparisons_table.py"


# On demand, before a study is run or after: what more splits and seeds would show, and cost.
rule plan:
    input:
        PLAN.planned_from,
    output:
        table=f"{RESULTS}/tables/plan.parquet",
        csv=f"{RESULTS}/plan.csv",
        text=f"{RESULTS}/plan.txt",
    log:
        f"{RESULTS}/logs/plan.log",
    conda:
        ENVIRONMENT
    resources:
        **needs("plan"),
    params:
        spec=spec(**PLAN.planning),
        code=code("plan"),
    script:
        "../workflow_scripts/plan.py"


rule influence_tables:
    input:
        scores=PLAN.scores("scores"),
        aggregates=PLAN.aggregates,
        diagnostics=PLAN.scores("diagnostics"),
    output:
        scores=f"{RESULTS}/tables/influence.parquet",
        diagnostics=f"{RESULTS}/tables/influence_diagnostics.parquet",
    log:
        f"{RESULTS}/logs/influence_tables.log",
    group:
        group("influence_tables")
    conda:
        ENVIRONMENT
    resources:
        **needs("influence_tables"),
    params:
        spec=spec(),
        code=code("influence_tables"),
    script:
        "../workflow_scripts/influence_tables.py"


if PLAN.used or PLAN.described_used:

    rule pool_use_table:
        input:
            choices=PLAN.pool_uses(""),
            metrics=f"{RESULTS}/tables/metrics.parquet",
        output:
            table=f"{RESULTS}/tables/pool_use.parquet",
        log:
            f"{RESULTS}/logs/pool_use_table.log",
        group:
            group("pool_use_table")
        conda:
            ENVIRONMENT
        resources:
            **needs("pool_use_table"),
        params:
            spec=spec(),
            code=code("pool_use_table"),
        script:
            "../workflow_scripts/pool_use_table.py"


if PLAN.budget_points:

    rule budget_curves_table:
        input:
            metrics=f"{RESULTS}/tables/metrics.parquet",
            splits=f"{RESULTS}/tables/splits.parquet",
            predictions=f"{RESULTS}/tables/predictions.parquet",
        output:
            table=f"{RESULTS}/tables/budget_curves.parquet",
        log:
            f"{RESULTS}/logs/budget_curves_table.log",
        group:
            group("budget_curves_table")
        conda:
            ENVIRONMENT
        resources:
            **needs("budget_curves_table"),
        params:
            spec=spec(**PLAN.swept_curves),
            code=code("budget_curves_table"),
        script:
            "../workflow_scripts/budget_curves_table.py"


rule failures_table:
    input:
        # What may hold the mark of a failure: a file of each optional step.
        runs=PLAN.of_replicates(f"{SEED}/{{run}}/run.json", run=TRAINED),
        selections=PLAN.selections + PLAN.swept_selections,
        uses=PLAN.pool_uses(""),
        scores=PLAN.scores("scores"),
        retraining=PLAN.validation_losses if "retraining" in TABLES else [],
        tuning=PLAN.tunings if PLAN.tuned else [],
        tables=[
            f"{RESULTS}/tables/{name}.parquet"
            for name in TABLES
            if name in ("audit_shift", "budget_curves", "comparisons", "influence_on_test", "influence_validation")
        ],
    output:
        table=f"{RESULTS}/tables/failures.parquet",
    log:
        f"{RESULTS}/logs/failures_table.log",
    group:
        group("failures_table")
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
        tables=PLAN.table_files,
        config=f"{RESULTS}/config.yaml",
    output:
        report=report(f"{RESULTS}/report.html", category="chemsieve"),
    log:
        f"{RESULTS}/logs/report.log",
    group:
        group("report")
    conda:
        ENVIRONMENT
    resources:
        **needs("report"),
    params:
        spec=spec(),
        code=code("report"),
    script:
        "../workflow_scripts/report.py"
