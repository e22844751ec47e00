# Needs: a corpus of SMILES. On demand: the study itself starts from encoder.path, encoder.repository or random weights.
# Makes: an encoder folder pretrained by masked-language modelling, with its curve and model card.


rule pretrain_corpus:
    input:
        corpus=said(PLAN.corpus_file),
        excluded=[file["path"] for file in config["pretrain"]["exclude"]],
        tokenizer=PLAN.tokenizer,
    output:
        corpus=f"{RESULTS}/pretrain/corpus.parquet",
        refused=f"{RESULTS}/pretrain/refused.parquet",
    log:
        f"{RESULTS}/logs/pretrain_corpus.log",
    conda:
        ENVIRONMENT
    threads: all_cores
    resources:
        **needs("pretrain_corpus"),
    params:
        spec=spec(
            **{key: config["pretrain"][key] for key in ("limit", "held_out", "properties", "exclude", "seed")},
            max_tokens=config["encoder"]["architecture"].get("max_position_embeddings", 202),
            unknown_tokens=config["encoder"]["unknown_tokens"],
        ),
        code=code("pretrain_corpus"),
    script:
        "../workflow_scripts/pretrain_corpus.py"


rule pretrain_targets:
    input:
        corpus=f"{RESULTS}/pretrain/corpus.parquet",
        vectors=lambda wildcards: PLAN.vectors(wildcards.table)["path"],
    output:
        targets=f"{RESULTS}/pretrain/targets/{{table}}.npy",
    log:
        f"{RESULTS}/logs/pretrain_targets_{{table}}.log",
    conda:
        ENVIRONMENT
    resources:
        **needs("pretrain_targets"),
    params:
        spec=lambda wildcards: spec(table=PLAN.vectors(wildcards.table)),
        code=code("pretrain_targets"),
    script:
        "../workflow_scripts/pretrain_targets.py"


rule pretrain:
    input:
        corpus=f"{RESULTS}/pretrain/corpus.parquet",
        refused=f"{RESULTS}/pretrain/refused.parquet",
        targets=[f"{RESULTS}/pretrain/targets/{name}.npy" for name in config["pretrain"]["targets"]],
        tokenizer=PLAN.tokenizer,
    output:
        **named_folder(f"{RESULTS}/pretrain/encoder"),
        card=f"{RESULTS}/pretrain/encoder/README.md",
        curve=f"{RESULTS}/pretrain/curve.parquet",
    log:
        f"{RESULTS}/logs/pretrain.log",
    cache: CACHE
    conda:
        ENVIRONMENT
    threads: THREADS
    resources:
        **needs("pretrain"),
    params:
        key=cache_key,
        # Not declared as an output: Snakemake would remove it when a job fails, and nothing could be resumed.
        state=f"{RESULTS}/pretrain/state.safetensors",
        spec=spec(
            pretrain=PLAN.pretraining,
            architecture=config["encoder"]["architecture"],
            family=FAMILY,
            compute=COMPUTE,
        ),
        code=code("pretrain"),
    script:
        "../workflow_scripts/pretrain.py"
