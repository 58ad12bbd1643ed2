# syntax=docker/dockerfile:1
# Two images, each with everything `loupe up` runs:
#   docker build --target cpu --tag loupe:cpu .
#   docker build --target gpu --tag loupe:gpu .
# The trainer is gigabytes, so it comes on request: --build-arg EXTRAS=cpu,train,console,postgres
# (or gpu,train,…); with --build-arg PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu without CUDA.
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS source
WORKDIR /src
COPY pyproject.toml constraints.txt README.md ./
COPY service service/
COPY models models/
COPY labeling labeling/
COPY monitoring monitoring/
COPY storage storage/
COPY simulation simulation/
RUN python -m venv --without-pip /opt/venv

FROM source AS build-cpu
ARG EXTRAS=cpu,console,postgres
ARG PIP_EXTRA_INDEX_URL=
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/venv/bin/python install --constraint constraints.txt ".[${EXTRAS}]"

FROM source AS build-gpu
ARG EXTRAS=gpu,console,postgres
ARG PIP_EXTRA_INDEX_URL=
# ONNX Runtime's own extras bring CUDA and cuDNN, so that the host needs the driver only.
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/venv/bin/python install --constraint constraints.txt \
        ".[${EXTRAS}]" "onnxruntime-gpu[cuda,cudnn]"

FROM python:${PYTHON}-slim AS runtime
RUN useradd --uid 10001 --create-home loupe && install --directory --owner loupe --group loupe /data
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    LOUPE_DATA_DIR=/data
# What is compiled for this machine's processor is kept with the data: the next container need not do it again.
ENV NUMBA_CACHE_DIR=/data/compiled
# By number, so that Kubernetes can see that it is not root.
USER 10001
# loupe.toml is read from here.
WORKDIR /data
VOLUME /data
EXPOSE 8080 8090
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ.get('LOUPE_PORT', 8080)}/health/live\", timeout=4)"]
ENTRYPOINT ["loupe"]
CMD ["up"]

FROM runtime AS gpu
ARG PYTHON
COPY --from=build-gpu /opt/venv /opt/venv
ENV LOUPE_PROVIDER=CUDAExecutionProvider \
    LD_LIBRARY_PATH=/opt/venv/lib/python${PYTHON}/site-packages/nvidia/cu13/lib:/opt/venv/lib/python${PYTHON}/site-packages/nvidia/cudnn/lib

# Last, so that it is what `docker build .` makes.
FROM runtime AS cpu
COPY --from=build-cpu /opt/venv /opt/venv
