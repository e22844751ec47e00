"""Influence of the pool on single test molecules, for the report."""

from chemsieve.runtime.job import job, torch_device

if __name__ == "__main__":
    with job(snakemake) as spec:
        from chemsieve.influence import gramfile, on_test
        from chemsieve.influence.loading import load
        from chemsieve.tables import read_table, write_table

        w, files = snakemake.wildcards, snakemake.input
        seed = int(w.seed)
        test = on_test.sampled(read_table(files.test), read_table(files.test_labels), spec["molecules"], seed)
        problem, query, pool = load(files, spec, seed, torch_device(spec), query=test)
        kernel, labels, _ = gramfile.compute(problem, query, pool, spec["gram"])
        names, scale = list(read_table(files.pool, columns=["molecule_id"])["molecule_id"]), problem.model.label_scale
        made = on_test.table(kernel, labels, names, test, spec["damping"], seed, float(scale))
        axes = {"splitter": w.splitter, "split_seed": int(w.split_seed), "seed": seed, "origin": w.origin}
        write_table(made.assign(**axes, checkpoint=int(w.checkpoint)), snakemake.output.table, "influence_on_test")
