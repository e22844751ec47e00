"""Divide the target set; keep the test labels apart from everything that trains or chooses."""

from chemsieve.runtime.job import job

if __name__ == "__main__":
    with job(snakemake) as spec:
        from chemsieve.data.binarising import binarised
        from chemsieve.splitting import divide
        from chemsieve.tables import read_table, write_table

        molecules = read_table(snakemake.input.molecules)
        target = molecules[molecules["source"] == "target"]
        splitter, seed = snakemake.wildcards.splitter, int(snakemake.wildcards.split_seed)
        folds = divide(
            splitter,
            list(target["smiles"]),
            tuple(spec["fractions"]),
            seed,
            given=list(target["given_fold"]),
            rows=list(target["row"]),
            groups=list(target[spec["group"]]) if spec["group"] else None,
            **spec["options"],
        )
        split = target[["molecule_id"]].assign(splitter=splitter, split_seed=seed, fold=folds)
        write_table(split, snakemake.output.split, "splits")
        split = split[folds != ""]
        if spec["binarise"]:
            training = split.loc[folds == "train", "molecule_id"]
            target = binarised(target, target["molecule_id"].isin(training))
        labelled = target[["molecule_id", "encoder_smiles", "label"]]
        test = labelled[folds == "test"]
        write_table(labelled[folds == "train"], snakemake.output.train, "labelled")
        write_table(labelled[folds == "validation"], snakemake.output.validation, "labelled")
        write_table(test[["molecule_id", "encoder_smiles"]], snakemake.output.test, "unlabelled")
        write_table(test[["molecule_id", "label"]], snakemake.output.test_labels, "labels")
