# syntax=docker/dockerfile:1
# One recipe for all services: docker build --build-arg SERVICE=ingest --tag shotwatch-ingest .
# SERVICE=cli is the command line, for whoever operates them.

ARG PYTHON=python:3.11-slim-bookworm
FROM $PYTHON AS python
# Kernels are compiled for every x86-64 processor since 2013: the cache fits each node, and results are the same on all.
ENV NUMBA_CPU_NAME=x86-64-v3 NUMBA_CPU_FEATURES=+avx2,+fma

FROM python AS build
ARG SERVICE
# Optional parts of the service, such as `exports` of query.
ARG EXTRAS
WORKDIR /src
COPY requirements.lock .
RUN sed -n '/^uv==/,/[^\\]$/p' requirements.lock > uv.txt \
    && pip install --no-cache-dir --require-hashes --no-deps --requirement uv.txt
COPY libs libs
COPY services services
COPY tools tools
COPY cli cli
COPY deploy/install deploy/install
COPY deploy/h5wasm deploy/h5wasm
RUN --mount=type=cache,target=/var/cache/uv UV_CACHE_DIR=/var/cache/uv UV_LINK_MODE=copy deploy/install "$SERVICE" /opt/shotwatch

FROM python
ARG SERVICE
ARG VERSION=unreleased
LABEL org.opencontainers.image.title="shotwatch-$SERVICE" \
    org.opencontainers.image.version="$VERSION" \
    org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin shotwatch
COPY deploy/serve /usr/local/bin/serve
COPY --from=build /opt/shotwatch /opt/shotwatch
# All that a service writes lies under /tmp; the rest of the file system may be read-only.
ENV PATH=/opt/shotwatch/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    NUMBA_CACHE_DIR=/tmp/kernels \
    SHOTWATCH_SERVICE=$SERVICE \
    SHOTWATCH_FACILITY=/etc/shotwatch/hpls.yaml \
    SHOTWATCH_HEALTH_HOST=0.0.0.0 \
    SHOTWATCH_HEALTH_PORT=8080
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/ready', timeout=4)"]
ENTRYPOINT ["serve"]
