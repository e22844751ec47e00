# Needs: the metrics, and the run or the two runs that they or the configuration choose. On demand: no part of `all`.
# Makes: a model folder that predicts without the workflow; predictions of a file of molecules.

MODEL_FOLDER = [f"{RESULTS}/model/{name}" for name in PLAN.model_files]


rule export_model:
    input:
        metrics=f"{RESULTS}/tables/metrics.parquet",
        predictions=f"{RESULTS}/tables/predictions.parquet",
        molecules=f"{RESULTS}/tables/molecules.parquet",
        target=PLAN.table_file("target"),
        pool=PLAN.table_file("pool"),
        candidates=said(PLAN.exported_files),
    output:
        model=MODEL_FOLDER,
    log:
        f"{RESULTS}/logs/export_model.log",
    conda:
        ENVIRONMENT
    threads: THREADS
    resources:
        **needs("export_model"),
    params:
        spec=said(lambda wildcards: spec(**PLAN.exported())),
        code=code("export_model"),
    script:
        "../workflow_scripts/export_model.py"


rule predict:
    input:
        model=MODEL_FOLDER,
        molecules=said(PLAN.predicted_file),
    output:
        predictions=f"{RESULTS}/predictions.csv",
    log:
        f"{RESULTS}/logs/predict.log",
    conda:
        ENVIRONMENT
    threads: THREADS
    resources:
        **needs("predict"),
    params:
        spec=spec(
            predict={
                key: config["predict"][key]
                for key in ("smiles", "delimiter", "format", "encoding", "decimal", "chunk")
            },
            compute=COMPUTE,
        ),
        code=code("predict"),
    script:
        "../workflow_scripts/predict.py"
