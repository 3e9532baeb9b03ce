# vader3d on NVIDIA GPUs:    docker build -f docker/cuda.Dockerfile -t vader3d:cuda .
#                            docker run --rm --gpus all -v "$PWD":/work vader3d:cuda demo --output /work/demo
# CUDA's libraries come with pip's own torch, the driver from the host through NVIDIA's container toolkit.
FROM python:3.12-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
COPY . /source
# xatlas has no wheel for every platform: where it has none it is built here, where there is a compiler.
RUN pip wheel --no-cache-dir --no-deps -c /source/constraints.txt --wheel-dir /wheels /source xatlas

FROM python:3.12-slim
# Triton builds its launchers with a C compiler when it first runs.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY constraints.txt /tmp/constraints.txt
COPY --from=build /wheels /tmp/wheels
RUN pip install --no-cache-dir -c /tmp/constraints.txt --find-links /tmp/wheels \
    "$(echo /tmp/wheels/vader3d-*.whl)[assets,evaluation,hub,meshes]" && rm -r /tmp/wheels
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
RUN useradd --create-home vader3d
USER vader3d
WORKDIR /work
ENTRYPOINT ["vader3d"]
CMD ["doctor"]
