"""Influence at a finished cell of the grid, over the parameters that its method trains."""

from chemsieve.runtime.job import job, torch_device

if __name__ == "__main__":
    with job(snakemake) as spec:
        import pandas as pd

        from chemsieve.errors import ChemsieveError
        from chemsieve.influence import gramfile
        from chemsieve.influence.loading import load
        from chemsieve.influence.scoring import from_kernel
        from chemsieve.tables import read_table, write_table

        w = snakemake.wildcards
        seed = int(w.seed)
        problem = load(snakemake.input, spec, seed, torch_device(spec))
        try:
            kernel = gramfile.compute(*problem, spec["gram"])
        except (KeyError, NotImplementedError, RuntimeError) as error:
            if spec["method"] != "peft":
                raise
            # Some adapters compute with their parameters in ways that have no gradients by molecule.
            said = " ".join(str(error).split())[:200]
            raise ChemsieveError(
                f"cell_influence: {w.method}: no gradients by molecule follow from this tuner of peft ({said})"
            ) from None
        axes = {"splitter": w.splitter, "split_seed": int(w.split_seed), "seed": seed}
        axes |= {"origin": "adapted", "checkpoint": -1}
        molecules = read_table(snakemake.input.pool, columns=["molecule_id"])
        tables, rows = [], []
        for estimator, options in spec["estimators"].items():
            scores, facts, _ = from_kernel(*kernel, lambda: problem, estimator, options, spec["tolerance"], seed)
            of_this = axes | {"estimator": estimator}
            tables.append(molecules.assign(**of_this, influence=scores, expected_gain=-scores))
            rows.append(of_this | facts)
        write_table(pd.concat(tables), snakemake.output.scores, "influence")
        write_table(pd.DataFrame(rows), snakemake.output.diagnostics, "influence_diagnostics")
