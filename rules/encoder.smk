# Needs: nothing, a local folder or a hub repository; the training molecules.
# Makes: the encoder folder of the study, and the encoder adapted to each training set by masked-language modelling.


def encoder_inputs(wildcards):
    """Local files that the encoder is made from."""
    encoder = config["encoder"]
    files = [encoder["tokenizer"]] if encoder["tokenizer"] else []
    if encoder["path"]:
        names = [n for n in FOLDER_FILES if not (n == "tokenizer.json" and encoder["tokenizer"])]
        files += [f"{encoder['path']}/{name}" for name in names]
    return files


def encoder_spec():
    """What the encoder depends on: its architecture only where it starts from random weights."""
    encoder = {k: v for k, v in config["encoder"].items() if k not in ("stereo", "max_tokens")}
    if encoder["path"] or encoder["repository"]:
        encoder |= {"architecture": None, "seed": None}
    return spec(encoder=encoder)


rule encoder:
    input:
        encoder_inputs,
    output:
        folder(ENCODER),
    log:
        RESULTS + "/logs/encoder.log",
    params:
        spec=encoder_spec(),
        code=code("encoder", f"encoders.{FAMILY}"),
    conda:
        ENVIRONMENT
    script:
        "../workflow_scripts/encoder.py"


rule mlm:
    input:
        train=SPLIT + "/train.parquet",
        encoder=folder(ENCODER),
        checked=ancient(RESULTS + "/data/budgets.json"),
    output:
        encoder=folder(SEED + "/mlm"),
        curve=SEED + "/mlm/curve.parquet",
    log:
        RESULTS + "/logs/mlm/{splitter}/{split_seed}/{seed}.log",
    benchmark:
        RESULTS + "/benchmarks/mlm/{splitter}/{split_seed}/{seed}.tsv"
    threads: THREADS
    resources:
        gpu=gpu,
    params:
        spec=spec(mlm=config["mlm"], family=FAMILY, compute=config["compute"]),
        code=code("mlm", f"encoders.{FAMILY}"),
    conda:
        ENVIRONMENT
    script:
        "../workflow_scripts/mlm.py"
