# Needs: nothing, a local folder or a hub repository; the training molecules.
# Makes: the encoder folder of the study, and the encoder adapted to each training set by masked-language modelling.


rule encoder:
    input:
        PLAN.encoder_inputs,
    output:
        plan.encoder_folder(ENCODER),
    log:
        f"{RESULTS}/logs/encoder.log",
    conda:
        ENVIRONMENT
    resources:
        **needs("encoder"),
    params:
        spec=spec(**PLAN.encoder_source),
        code=code("encoder"),
    script:
        "../workflow_scripts/encoder.py"


rule mlm:
    input:
        train=f"{SPLIT}/train.parquet",
        encoder=plan.encoder_folder(ENCODER),
    output:
        **named_folder(f"{SEED}/mlm"),
        curve=f"{SEED}/mlm/curve.parquet",
    log:
        f"{RESULTS}/logs/mlm/{{splitter}}/{{split_seed}}/{{seed}}.log",
    cache: CACHE
    conda:
        ENVIRONMENT
    threads: THREADS
    resources:
        **needs("mlm"),
    params:
        key=cache_key,
        spec=spec(mlm=config["mlm"], family=FAMILY, compute=COMPUTE),
        code=code("mlm"),
    script:
        "../workflow_scripts/mlm.py"
