# Needs: the metrics, and the run that they or the configuration choose. On demand: no part of `all`.
# Makes: a model folder that predicts without the workflow; predictions of a file of molecules.

MODEL_FOLDER = [
    f"{RESULTS}/model/{name}"
    for name in (
        "chemsieve.json",
        "config.json",
        "tokenizer.json",
        "model.safetensors",
        "training.parquet",
        "README.md",
    )
]


rule export_model:
    input:
        metrics=f"{RESULTS}/tables/metrics.parquet",
        predictions=f"{RESULTS}/tables/predictions.parquet",
        molecules=f"{RESULTS}/tables/molecules.parquet",
        target=table_file("target"),
        pool=table_file("pool"),
        candidates=exported_files,
    output:
        model=MODEL_FOLDER,
    log:
        f"{RESULTS}/logs/export_model.log",
    conda:
        ENVIRONMENT
    threads: THREADS
    resources:
        **needs("export_model"),
        gpu=gpu,
    params:
        spec=exported_spec,
        code=code(
            "export_model",
            f"models.encoders.{FAMILY}",
            "methods.full",
            *(
                f"methods.{configuration.module_of(config['grid']['methods'][m], m, 'method')}"
                for m in config["grid"]["run"]
            ),
        ),
    script:
        "../workflow_scripts/export_model.py"


rule predict:
    input:
        model=MODEL_FOLDER,
        molecules=predict_input,
    output:
        predictions=f"{RESULTS}/predictions.csv",
    log:
        f"{RESULTS}/logs/predict.log",
    conda:
        ENVIRONMENT
    threads: THREADS
    resources:
        **needs("predict"),
        gpu=gpu,
    params:
        spec=spec(
            predict={key: config["predict"][key] for key in ("smiles", "delimiter", "format", "encoding", "chunk")},
            compute=COMPUTE,
        ),
        code=code("predict", f"models.encoders.{FAMILY}"),
    script:
        "../workflow_scripts/predict.py"
