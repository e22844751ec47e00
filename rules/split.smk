# Needs: tables/molecules, data/sizes.json (so that nothing trains where target or pool are too small).
# Makes: the folds of each splitter and split seed. Test molecules travel without labels; their labels go to a file
# of their own, which the tables step reads, and influence_on_test where it is asked for. Labels are cut at the training mean where that is asked for.


rule split:
    input:
        molecules=f"{RESULTS}/tables/molecules.parquet",
        sizes=f"{RESULTS}/data/sizes.json",
    output:
        **({"limits": PLAN.limits[0]} if PLAN.censored else {}),
        split=f"{SPLIT}/split.parquet",
        train=f"{SPLIT}/train.parquet",
        validation=f"{SPLIT}/validation.parquet",
        test=f"{SPLIT}/test.parquet",
        test_labels=f"{SPLIT}/test_labels.parquet",
    log:
        f"{RESULTS}/logs/split/{{splitter}}/{{split_seed}}.log",
    group:
        group("split")
    conda:
        ENVIRONMENT
    resources:
        **needs("split"),
    params:
        spec=lambda wildcards: spec(
            fractions=config["split"]["fractions"],
            options=config["split"]["options"].get(wildcards.splitter, {}),
            group=config["split"]["group"],
            binarise=config["target"]["binarise"],
            censored=PLAN.censored,
            standardise=config["encoder"]["standardise"],
        ),
        code=code("split"),
    script:
        "../workflow_scripts/split.py"
