# vader3d on a CPU:    docker build -f docker/cpu.Dockerfile -t vader3d .
#                      docker run --rm -v "$PWD":/work vader3d demo --output /work/demo
# pip's own torch for Linux brings CUDA, 2.9 GB: for its CPU build add --build-arg PIP_EXTRA_INDEX_URL=ADDRESS, the index
# that PyTorch's installation page names for Linux, Pip and CPU.
FROM python:3.12-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
COPY . /source
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels /source

FROM python:3.12-slim
ARG PIP_EXTRA_INDEX_URL=""
COPY constraints.txt /tmp/constraints.txt
COPY --from=build /wheels /tmp/wheels
RUN pip install --no-cache-dir -c /tmp/constraints.txt "$(echo /tmp/wheels/*.whl)[evaluation,hub,meshes]" && rm -r /tmp/wheels
RUN useradd --create-home vader3d
USER vader3d
WORKDIR /work
ENTRYPOINT ["vader3d"]
CMD ["doctor"]
