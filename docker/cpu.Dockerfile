# vader3d on a CPU:    docker build -f docker/cpu.Dockerfile -t vader3d .
#                      docker run --rm -v "$PWD":/work vader3d demo --output /work/demo
# pip's own torch for Linux brings CUDA, 2.9 GB: for its CPU build add --build-arg PIP_EXTRA_INDEX_URL=ADDRESS, the index
# that PyTorch's installation page names for Linux, Pip and CPU.
FROM python:3.12-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
COPY . /source
# xatlas has no wheel for every platform: where it has none it is built here, where there is a compiler.
RUN pip wheel --no-cache-dir --no-deps -c /source/constraints.txt --wheel-dir /wheels /source xatlas

FROM python:3.12-slim
ARG PIP_EXTRA_INDEX_URL=""
COPY constraints.txt /tmp/constraints.txt
COPY --from=build /wheels /tmp/wheels
RUN pip install --no-cache-dir -c /tmp/constraints.txt --find-links /tmp/wheels \
    "$(echo /tmp/wheels/vader3d-*.whl)[assets,evaluation,hub,meshes]" && rm -r /tmp/wheels
RUN useradd --create-home vader3d
USER vader3d
WORKDIR /work
ENTRYPOINT ["vader3d"]
CMD ["doctor"]
