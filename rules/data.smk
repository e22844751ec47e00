# Needs: the target's and the pool's files (or the embedded data), the encoder's tokenizer.
# Makes: tables/molecules, tables/rejected; the labelled pool; the check that every budget fits the pool.


def table_file(section):
    """Where the target or the pool is read from: the user's path, the embedded data, or a download."""
    table = config[section]
    if table["source"] == "embedded":
        return f"{RESULTS}/embedded/{section}.csv"
    return table["path"] or f"{RESULTS}/data/downloaded_{section}.csv"


def table_columns(section):
    """Columns of a table; a download is written under the names smiles and label."""
    table = {key: config[section].get(key) for key in ("smiles", "label", "fold", "delimiter")}
    if config[section]["source"] == "file" and not config[section]["path"]:
        table |= {"smiles": "smiles", "label": "label", "fold": None, "delimiter": ","}
    return table


rule effective_config:
    output:
        config=RESULTS + "/config.yaml",
    log:
        RESULTS + "/logs/effective_config.log",
    params:
        spec=spec(**config),
        code=code("effective_config"),
    conda:
        ENVIRONMENT
    script:
        "../workflow_scripts/effective_config.py"


if EMBEDDED:

    rule embedded_data:
        output:
            target=RESULTS + "/embedded/target.csv",
            pool=RESULTS + "/embedded/pool.csv",
            # The truth about the pool. Only the report reads it.
            control=RESULTS + "/tables/pool_control.parquet",
        log:
            RESULTS + "/logs/embedded_data.log",
        params:
            spec=spec(embedded=config["embedded"]),
            code=code("embedded_data"),
        conda:
            ENVIRONMENT
        script:
            "../workflow_scripts/embedded_data.py"


rule download_target:
    output:
        target=RESULTS + "/data/downloaded_target.csv",
    log:
        RESULTS + "/logs/download_target.log",
    params:
        spec=spec(downloads=config["target"]["downloads"], content_sha256=config["target"]["content_sha256"]),
        code=code("download_target"),
    conda:
        ENVIRONMENT
    script:
        "../workflow_scripts/download_target.py"


rule data:
    input:
        target=table_file("target"),
        pool=table_file("pool"),
        encoder=folder(ENCODER),
    output:
        molecules=RESULTS + "/tables/molecules.parquet",
        rejected=RESULTS + "/tables/rejected.parquet",
        pool=RESULTS + "/data/pool.parquet",
    log:
        RESULTS + "/logs/data.log",
    benchmark:
        RESULTS + "/benchmarks/data.tsv"
    params:
        spec=spec(
            target=table_columns("target"),
            pool=table_columns("pool"),
            content_sha256=config["target"]["content_sha256"],
            stereo=config["encoder"]["stereo"],
            max_tokens=config["encoder"]["max_tokens"],
            family=FAMILY,
        ),
        code=code("data", f"encoders.{FAMILY}"),
    conda:
        ENVIRONMENT
    script:
        "../workflow_scripts/data.py"


# Whatever trains waits for this, but is not rerun when a budget changes: its input is `ancient`.
rule check_budgets:
    input:
        pool=RESULTS + "/data/pool.parquet",
    output:
        checked=RESULTS + "/data/budgets.json",
    log:
        RESULTS + "/logs/check_budgets.log",
    params:
        spec=spec(
            budgets={name: config["selection"]["strategies"][name].get("budget") for name in STRATEGIES},
        ),
        code=code("check_budgets"),
    conda:
        ENVIRONMENT
    script:
        "../workflow_scripts/check_budgets.py"
