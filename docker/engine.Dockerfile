# vLLM with the Python package. Build from the repository's root: docker build -f docker/engine.Dockerfile .
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends python3-pip python3-venv && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
RUN pip wheel --break-system-packages --no-deps --wheel-dir /wheels ./python

FROM vllm/vllm-openai:v0.32.0
COPY --from=build /wheels /wheels
RUN pip install --no-deps /wheels/*.whl
