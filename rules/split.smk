# Needs: tables/molecules.
# Makes: the folds of each splitter and split seed. Test molecules travel without labels; their labels go to a file
# of their own, which only the tables step reads.


rule split:
    input:
        molecules=RESULTS + "/tables/molecules.parquet",
    output:
        split=SPLIT + "/split.parquet",
        train=SPLIT + "/train.parquet",
        validation=SPLIT + "/validation.parquet",
        test=SPLIT + "/test.parquet",
        test_labels=SPLIT + "/test_labels.parquet",
    log:
        RESULTS + "/logs/split/{splitter}/{split_seed}.log",
    params:
        spec=lambda wildcards: spec(
            fractions=config["split"]["fractions"],
            options=config["split"]["options"].get(wildcards.splitter, {}),
        ),
        code=lambda wildcards: code("split", f"splitting.{wildcards.splitter}"),
    conda:
        ENVIRONMENT
    script:
        "../workflow_scripts/split.py"
