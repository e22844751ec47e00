"""Read, canonicalise, tokenise and divide a corpus for pretraining."""

from chemsieve.runtime.job import job, optional_path

if __name__ == "__main__":
    with job(snakemake) as spec:
        from chemsieve.data.corpus import prepare
        from chemsieve.models import tokenization
        from chemsieve.tables import write_table

        tokenizer = tokenization.load_or_build(optional_path(snakemake.input.get("tokenizer")))
        corpus, refused = prepare(snakemake.input.corpus, tokenizer, processes=snakemake.threads, **spec)
        write_table(corpus, snakemake.output.corpus, "corpus")
        write_table(refused, snakemake.output.refused, "corpus_refused")
