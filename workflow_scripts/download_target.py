"""Fetch the target set from its public sources, and check its content."""

from chemsieve.runtime.job import job

if __name__ == "__main__":
    with job(snakemake) as spec:
        from chemsieve.data.download import fetch
        from chemsieve.runtime.files import write_text

        table = fetch(spec["downloads"], spec["content_sha256"])
        write_text(snakemake.output.target, table.to_csv(index=False))
