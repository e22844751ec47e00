"""Compare pool and target: computed properties, labels, and the encoder's embedding."""

from chemsieve.runtime.job import job, torch_device

if __name__ == "__main__":
    with job(snakemake) as spec:
        from pathlib import Path

        from chemsieve.audit.shift import compare_all
        from chemsieve.models import backbone, embeddings, encoders, tokenization
        from chemsieve.tables import read_table, write_table

        folder, device = Path(snakemake.input.encoder[0]).parent, torch_device(spec)
        masked_lm = backbone.load_masked_lm(folder, spec["family"])
        encoder = encoders.load(spec["family"]).backbone(masked_lm)
        tokenizer = backbone.load_tokenizer(folder)

        def embed(smiles):
            ids = tokenization.encode(tokenizer, smiles)
            return embeddings.pooled(encoder, ids, tokenization.special_id(tokenizer, "pad"), device)

        table = compare_all(read_table(snakemake.input.molecules), embed, spec["molecules"], spec["permutations"])
        write_table(table, snakemake.output.table, "audit_shift")
