# Needs: the target's and the pool's files (or the embedded data), the encoder's tokenizer.
# Makes: tables/molecules, tables/rejected; then, where these are enough for what is asked of them, data/sizes.json and
# the labelled pool.


rule effective_config:
    output:
        config=f"{RESULTS}/config.yaml",
    log:
        f"{RESULTS}/logs/effective_config.log",
    conda:
        ENVIRONMENT
    resources:
        **needs("effective_config"),
    params:
        # These change nothing that a study makes.
        spec=spec(**{key: value for key, value in config.items() if key not in ("tracking", "on_failure")}),
        code=code("effective_config"),
    script:
        "../workflow_scripts/effective_config.py"


if PLAN.embedded:

    rule embedded_data:
        output:
            target=f"{RESULTS}/embedded/target.csv",
            pool=f"{RESULTS}/embedded/pool.csv",
            # The truth about the pool. Only the report reads it.
            control=f"{RESULTS}/{'tables' if PLAN.control else 'embedded'}/pool_control.parquet",
        log:
            f"{RESULTS}/logs/embedded_data.log",
        group:
            group("embedded_data")
        conda:
            ENVIRONMENT
        resources:
            **needs("embedded_data"),
        params:
            spec=spec(embedded=config["embedded"]),
            code=code("embedded_data"),
        script:
            "../workflow_scripts/embedded_data.py"


rule download_target:
    output:
        target=f"{RESULTS}/data/downloaded_target.csv",
    log:
        f"{RESULTS}/logs/download_target.log",
    conda:
        ENVIRONMENT
    resources:
        **needs("download_target"),
    params:
        spec=spec(downloads=config["target"]["downloads"], content_sha256=config["target"]["content_sha256"]),
        code=code("download_target"),
    script:
        "../workflow_scripts/download_target.py"


rule data:
    input:
        target=PLAN.table_file("target"),
        pool=PLAN.table_file("pool"),
        unlabelled=PLAN.unlabelled_file,
        encoder=plan.encoder_folder(ENCODER),
    output:
        **({"unlabelled": PLAN.unlabelled[0]} if PLAN.unlabelled else {}),
        molecules=f"{RESULTS}/tables/molecules.parquet",
        rejected=f"{RESULTS}/tables/rejected.parquet",
    log:
        f"{RESULTS}/logs/data.log",
    group:
        group("data")
    conda:
        ENVIRONMENT
    resources:
        **needs("data"),
    params:
        key=cache_key,
        spec=spec(
            target=PLAN.identified("target"),
            pool=PLAN.identified("pool"),
            **PLAN.unlabelled_spec,
            pool_labels=PLAN.labelled,
            content_sha256=config["target"]["content_sha256"],
            stereo=config["encoder"]["stereo"],
            max_tokens=config["encoder"]["max_tokens"],
            unknown_tokens=config["encoder"]["unknown_tokens"],
            standardise=config["encoder"]["standardise"],
            family=FAMILY,
        ),
        code=code("data"),
    script:
        "../workflow_scripts/data.py"


rule sizes:
    input:
        molecules=f"{RESULTS}/tables/molecules.parquet",
        rejected=f"{RESULTS}/tables/rejected.parquet",
    output:
        sizes=f"{RESULTS}/data/sizes.json",
        pool=f"{RESULTS}/data/pool.parquet",
    log:
        f"{RESULTS}/logs/sizes.log",
    group:
        group("sizes")
    conda:
        ENVIRONMENT
    resources:
        **needs("sizes"),
    params:
        # Budgets are no part of it: check_sizes holds them against a pool that stands.
        spec=spec(pool_labels=PLAN.labelled),
        code=code("sizes"),
    script:
        "../workflow_scripts/sizes.py"
