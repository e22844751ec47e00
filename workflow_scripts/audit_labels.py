"""Find out where the pool's labels come from; all labels of the target are read, those of test molecules too."""

from chemsieve.runtime.job import job

if __name__ == "__main__":
    with job(snakemake) as spec:
        import logging

        import pandas as pd

        from chemsieve.audit import labelled
        from chemsieve.audit.findings import NOTE, scale_sentences
        from chemsieve.audit.label_facts import facts
        from chemsieve.audit.label_source import search, tolerance
        from chemsieve.audit.shift import positions
        from chemsieve.audit.too_good import compare
        from chemsieve.audit.tracing import Found, trace
        from chemsieve.data.measured import Scale
        from chemsieve.data.reading import read_table
        from chemsieve.runtime.files import write_json
        from chemsieve.tables import TABLES, write_table

        files = {}
        for source, table in spec["tables"].items():
            files[source] = labelled.read(read_table(snakemake.input[source], source, table), Scale.of(table))
        target, pool = files["target"], files["pool"]
        known = facts(pool, target)
        drawn = [side.part(positions(len(side), spec["molecules"])) for side in (pool, target)]
        known["too_good"] = compare(*drawn)
        if known["agreement"]:
            log = logging.getLogger("chemsieve")
            for severity, words, *_ in scale_sentences(known["agreement"], len(pool)):
                (log.info if severity == NOTE else log.warning)("%s", words)
        tried, rule = search(drawn[0], target)
        found = rule and Found(rule, tolerance(pool), target.decimals)
        sources = trace(found, pool, target) if found else pd.DataFrame(columns=list(TABLES["label_sources"]))
        if found:
            logging.getLogger("chemsieve").warning("the pool's labels are computed from the target's: %s", rule.words)
        write_table(tried, snakemake.output.rules, "audit_labels")
        write_table(sources, snakemake.output.sources, "label_sources")
        write_json(snakemake.output.facts, {"facts": known, "found": found and found.as_dict()})
