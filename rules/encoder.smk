# Needs: nothing, a local folder or a hub repository; the training molecules; where adaptation is told to learn from
# them, the pool's structures and a table of vectors.
# Makes: the encoder folder of the study, and the encoder adapted to each training set.


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
        pool=PLAN.adaptation_pool,
        teacher=PLAN.adaptation_teacher,
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
        spec=spec(mlm=PLAN.adaptation, family=FAMILY, compute=COMPUTE),
        code=code("mlm"),
    script:
        "../workflow_scripts/mlm.py"
