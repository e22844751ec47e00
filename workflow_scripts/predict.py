"""Predict a file of molecules with the study's model folder."""

from chemsieve.runtime.job import job, torch_device

if __name__ == "__main__":
    with job(snakemake) as spec:
        import time
        from pathlib import Path

        from chemsieve.deployment.folder import load
        from chemsieve.deployment.stream import predict_file
        from chemsieve.predict import log_counts

        given = spec["predict"]
        predictor = load(Path(snakemake.input.model[0]).parent, torch_device(spec))
        began = time.perf_counter()
        counts = predict_file(
            predictor,
            snakemake.input.molecules,
            snakemake.output.predictions,
            given["smiles"],
            given["delimiter"],
            given["chunk"],
            given["format"],
            given["encoding"],
            given["decimal"],
        )
        log_counts(counts, time.perf_counter() - began)
