"""Read target and pool; accept molecules or refuse them with a reason."""

from chemsieve.runtime.job import job, optional_path

if __name__ == "__main__":
    with job(snakemake) as spec:
        import logging
        from pathlib import Path

        import pandas as pd

        from chemsieve.data import chemistry
        from chemsieve.data.acceptance import Reader
        from chemsieve.data.download import check_content
        from chemsieve.data.measured import CENSORED
        from chemsieve.data.molecules import EXTRA, Rules, prepare, prepare_unlabelled
        from chemsieve.data.quality import WARNING, sentences
        from chemsieve.data.reading import identifier_column, read_table, read_unlabelled
        from chemsieve.models import backbone
        from chemsieve.tables import write_table

        tables = {name: read_table(snakemake.input[name], name, spec[name]) for name in ("target", "pool")}
        if spec["content_sha256"]:
            check_content(tables["target"], spec["content_sha256"], str(snakemake.input.target))
        encoder = Path(snakemake.input.encoder[0]).parent
        most = backbone.token_limit(encoder, spec["family"], spec["max_tokens"])
        reader = Reader(backbone.load_tokenizer(encoder), most, spec["unknown_tokens"])
        rules = {source: Rules.of(spec[source]) for source in tables}
        molecules, rejected = prepare(
            *tables.values(), reader, spec["stereo"], spec["pool_labels"], rules, spec["standardise"]
        )
        log = logging.getLogger("chemsieve")
        for (source, reason), rows in rejected.groupby(["source", "reason"]):
            log.info("%s: %d rows refused: %s", source, len(rows), reason)
        for source, table in tables.items():
            if column := identifier_column(snakemake.input[source], source, spec[source]):
                log.info("%s: the molecules' own names are those of column %r", source, column)
            if mapped := sum(frame.loc[frame["source"] == source, "mapped"].sum() for frame in (molecules, rejected)):
                log.info("%s: atom maps of %d of %d rows were left out", source, mapped, len(table))
            of_source = molecules["source"] == source
            if spec["standardise"] != chemistry.NONE:
                pairs = molecules.loc[of_source, ["smiles", "canonical_smiles"]].itertuples(index=False)
                other = sum(chemistry.canonical_smiles(chemistry.accepted(one)) != made for one, made in pairs)
                message = "%s: %d of %d molecules are read as another (encoder.standardise: %s)"
                log.info(message, source, other, of_source.sum(), spec["standardise"])
            if flagged := int((molecules.loc[of_source, "unknown_tokens"] > 0).sum()):
                message = "%s: %d of %d molecules have parts that the encoder does not know"
                log.warning(message, source, flagged, of_source.sum())
        repeats = {name: one.repeats for name, one in rules.items()}
        censored = rules["target"].scale.censored == CENSORED
        for _, (severity, words, *_) in sentences(molecules, rejected, repeats, censored):
            (log.warning if severity == WARNING else log.info)("%s", words)
        log.info("accepted: %s", molecules["source"].value_counts().to_dict())
        if "unlabelled" in spec:
            path = optional_path(snakemake.input.unlabelled)
            listed = read_unlabelled(path, "target.unlabelled", spec["unlabelled"])
            kept, refused = prepare_unlabelled(listed, reader, spec["stereo"], spec["standardise"])
            log.info("target.unlabelled: %d molecules, %d rows refused", len(kept), len(refused))
            write_table(kept, snakemake.output.unlabelled, "unlabelled")
            rejected = pd.concat([rejected, refused], ignore_index=True)
        write_table(rejected, snakemake.output.rejected, "rejected")
        write_table(molecules, snakemake.output.molecules, "molecules", EXTRA)
