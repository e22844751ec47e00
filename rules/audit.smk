# Needs: the target's and the pool's files as given, tables/molecules, tables/rejected, the splits, the encoder.
# Makes: the tables of the audit, and the pool of each split where the configuration treats its labels. The labels of
# test molecules are read here to find out whether pool labels were computed from them; nothing is trained or chosen
# by what is found, except that a pool label may be computed anew or left out.


if PLAN.labelled:

    rule audit_labels:
        input:
            target=PLAN.table_file("target"),
            pool=PLAN.table_file("pool"),
        output:
            rules=f"{RESULTS}/tables/audit_labels.parquet",
            sources=f"{RESULTS}/tables/label_sources.parquet",
            facts=f"{RESULTS}/data/label_facts.json",
        log:
            f"{RESULTS}/logs/audit_labels.log",
        cache: CACHE
        priority: 1
        group:
            group("audit_labels")
        conda:
            ENVIRONMENT
        resources:
            **needs("audit_labels"),
        params:
            key=cache_key,
            spec=spec(
                tables={source: PLAN.table_columns(source) for source in ("target", "pool")},
                molecules=config["audit"]["molecules"],
            ),
            code=code("audit_labels"),
        script:
            "../workflow_scripts/audit_labels.py"


rule audit_shift:
    input:
        molecules=f"{RESULTS}/tables/molecules.parquet",
        encoder=plan.encoder_folder(ENCODER),
    output:
        table=f"{RESULTS}/tables/audit_shift.parquet",
    log:
        f"{RESULTS}/logs/audit_shift.log",
    cache: CACHE
    priority: 1
    group:
        group("audit_shift")
    conda:
        ENVIRONMENT
    threads: THREADS
    resources:
        **needs("audit_shift"),
    params:
        key=cache_key,
        spec=spec(family=FAMILY, compute=COMPUTE, **config["audit"]),
        code=code("audit_shift"),
    script:
        "../workflow_scripts/audit_shift.py"


rule treat_pool:
    input:
        molecules=f"{RESULTS}/tables/molecules.parquet",
        split=f"{SPLIT}/split.parquet",
        facts=f"{RESULTS}/data/label_facts.json",
        sources=f"{RESULTS}/tables/label_sources.parquet",
    output:
        pool=f"{SPLIT}/pool.parquet",
        treatment=f"{SPLIT}/pool_treatment.parquet",
    log:
        f"{RESULTS}/logs/treat_pool/{{splitter}}/{{split_seed}}.log",
    group:
        group("treat_pool")
    conda:
        ENVIRONMENT
    resources:
        **needs("treat_pool"),
    params:
        spec=spec(
            labels=config["pool"]["labels"],
            leaks=config["pool"]["leaks"],
            binarise=config["target"]["binarise"],
        ),
        code=code("treat_pool"),
    script:
        "../workflow_scripts/treat_pool.py"


rule audit:
    input:
        molecules=f"{RESULTS}/tables/molecules.parquet",
        rejected=f"{RESULTS}/tables/rejected.parquet",
        splits=f"{RESULTS}/tables/splits.parquet",
        shift=f"{RESULTS}/tables/audit_shift.parquet",
        facts=PLAN.audited("data/label_facts.json"),
        rules=PLAN.audited("tables/audit_labels.parquet"),
        sources=PLAN.audited("tables/label_sources.parquet"),
        treated=PLAN.of_splits(f"{SPLIT}/pool_treatment.parquet") if PLAN.treated else [],
    output:
        audit=f"{RESULTS}/tables/audit.parquet",
        audit_identity=f"{RESULTS}/tables/audit_identity.parquet",
        nearest_training=f"{RESULTS}/tables/nearest_training.parquet",
        treatments=f"{RESULTS}/tables/pool_treatment.parquet",
    log:
        f"{RESULTS}/logs/audit.log",
    priority: 1
    group:
        group("audit")
    conda:
        ENVIRONMENT
    resources:
        **needs("audit"),
    params:
        spec=spec(
            labels=config["pool"]["labels"],
            leaks=config["pool"]["leaks"],
            repeats={
                source: {key: config[source][key] for key in ("repeats", "drop_if_apart")}
                for source in ("target", "pool")
            },
            censored=PLAN.censored,
        ),
        code=code("audit"),
    script:
        "../workflow_scripts/audit.py"
