"""Say what the audit found, per split and in sentences; to report and to warn, never to train or choose."""

from chemsieve.runtime.job import job, optional_path

if __name__ == "__main__":
    with job(snakemake, collects=("shift",)) as spec:
        import json
        import logging
        from pathlib import Path

        from chemsieve.audit.findings import NOTE, findings
        from chemsieve.audit.survey import survey
        from chemsieve.audit.tracing import Found
        from chemsieve.audit.treatment import counted
        from chemsieve.data import quality
        from chemsieve.data.measured import Repeats
        from chemsieve.tables import gather, read_table, write_table

        facts = rules = sources = None
        if path := optional_path(snakemake.input.get("facts")):
            facts = json.loads(Path(path).read_text(encoding="utf-8"))
            rules, sources = read_table(snakemake.input.rules), read_table(snakemake.input.sources)
        molecules, shift = read_table(snakemake.input.molecules), read_table(snakemake.input.shift)
        found = Found.of(facts and facts["found"])
        made = survey(molecules, read_table(snakemake.input.splits), found, sources)
        treated = gather(snakemake.input.get("treated", []), "treatment")
        treatments = counted(made.pop("leaks"), treated, spec["labels"], spec["leaks"])
        rejected = read_table(snakemake.input.rejected)
        policies = {source: Repeats.of(table) for source, table in spec["repeats"].items()}
        told = [sentence for _, sentence in quality.sentences(molecules, rejected, policies, spec["censored"])]
        sentences = findings(facts, rules, sources, treatments, *made.values(), shift, molecules, rejected, told)
        log = logging.getLogger("chemsieve")
        for row in sentences.itertuples(index=False):
            (log.info if row.severity == NOTE else log.warning)("%s: %s", row.severity, row.finding)
        write_table(sentences, snakemake.output.audit, "audit")
        write_table(treatments, snakemake.output.treatments, "pool_treatment")
        for name, table in made.items():
            write_table(table, snakemake.output[name], name)
