"""Divide the target set; keep the test labels apart from everything that trains or chooses."""

from chemsieve.runtime.job import job

if __name__ == "__main__":
    with job(snakemake) as spec:
        from chemsieve.data.binarising import binarised
        from chemsieve.data.chemistry import NONE
        from chemsieve.data.measured import MEASURED
        from chemsieve.errors import ChemsieveError
        from chemsieve.splitting import FOLDS, divide
        from chemsieve.tables import read_table, write_table

        molecules = read_table(snakemake.input.molecules)
        target = molecules[molecules["source"] == "target"]
        splitter, seed = snakemake.wildcards.splitter, int(snakemake.wildcards.split_seed)
        folds = divide(
            splitter,
            list(target["smiles" if spec["standardise"] == NONE else "canonical_smiles"]),
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
        # Limits are a file of their own, which fine-tuning alone reads, and are none of the validation molecules.
        measured = (target["relation"] == MEASURED).to_numpy() | (not spec["censored"])
        labelled = target[["molecule_id", "encoder_smiles", "label", "relation"]]
        for fold in FOLDS:
            if not (measured & (folds == fold)).any():
                raise ChemsieveError(
                    f"splitter {splitter}: all labels of the {fold} fold are limits; see target.censored"
                )
        plain, test = labelled.drop(columns="relation"), labelled[folds == "test"]
        write_table(plain[measured & (folds == "train")], snakemake.output.train, "labelled")
        write_table(plain[measured & (folds == "validation")], snakemake.output.validation, "labelled")
        write_table(test[["molecule_id", "encoder_smiles"]], snakemake.output.test, "unlabelled")
        if spec["censored"]:
            write_table(labelled[~measured & (folds == "train")], snakemake.output.limits, "limited")
            write_table(test[["molecule_id", "label", "relation"]], snakemake.output.test_labels, "limits_of_test")
        else:
            write_table(test[["molecule_id", "label"]], snakemake.output.test_labels, "labels")
