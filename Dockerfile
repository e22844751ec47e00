# The environment of requirements.lock as an image. The checkout is mounted, so that results and Snakemake's own records
# outlive the container:
#   docker build --tag chemsieve .
#   docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/work" chemsieve snakemake --cores 2 all
FROM python:3.11-slim-bookworm

# What RDKit's drawings are linked with and the base lacks. Debian keeps no old versions to pin.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libexpat1 libxext6 libxrender1 \
    && rm -rf /var/lib/apt/lists/*

COPY requirements.lock requirements-hashes.lock /tmp/
RUN pip install --no-cache-dir "$(grep -o '^torch==[0-9.]*' /tmp/requirements.lock)" \
    && pip install --no-cache-dir --no-deps --require-hashes --requirement /tmp/requirements-hashes.lock

# Any user may run it: caches go where everybody can write, and a number without an account has a name.
ENV HOME=/tmp USER=chemsieve OMP_WAIT_POLICY=passive GOMP_SPINCOUNT=0
WORKDIR /work
CMD ["snakemake", "--cores", "all", "all"]
