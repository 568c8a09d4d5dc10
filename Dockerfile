# What scripts/fresh_machine.sh does, for those who have a container engine: a minimal Debian with
# the packages that README.md names, in which an ordinary user clones what is committed here.
#
#     docker build --tag bnblind .
#     docker run --name bnblind bnblind
#     docker cp bnblind:/bnblind/reports .
#
# bnblind.sif, which the workflow names for --sdm apptainer:
#
#     apptainer build bnblind.sif docker-daemon:bnblind:latest
FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates git make python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home someone && install --directory --owner someone /bnblind
USER someone
WORKDIR /bnblind
COPY --chown=someone .git /clone
RUN git -c advice.detachedHead=false clone --quiet /clone . && make env
ENV PATH=/bnblind/.venv/bin:$PATH
CMD ["make", "reproduce"]
