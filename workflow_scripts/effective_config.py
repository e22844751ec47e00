"""Write the configuration that the study ran with: defaults, overlays and command line merged."""

from chemsieve.runtime.job import job

if __name__ == "__main__":
    with job(snakemake) as spec:
        import yaml

        from chemsieve.runtime.files import write_text

        write_text(snakemake.output.config, yaml.safe_dump(spec, sort_keys=False))
