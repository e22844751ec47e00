"""Gram matrix of the outputs' gradients at one checkpoint, for every estimator that works on it."""

from chemsieve.runtime.job import job, torch_device

if __name__ == "__main__":
    with job(snakemake) as spec:
        from chemsieve.influence import gramfile
        from chemsieve.influence.loading import load, unlabelled

        seed = int(snakemake.wildcards.seed)
        problem, query, pool = load(snakemake.input, spec, seed, torch_device(spec))
        more = unlabelled(snakemake.input)
        kernel, labels, facts = gramfile.compute(problem, query, pool, spec["gram"], more)
        gramfile.write(kernel, labels, facts, snakemake.output.matrix, snakemake.output.facts)
