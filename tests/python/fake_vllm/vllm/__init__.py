"""vLLM 0.32's shape around a worker, for what a test machine can't run: several replicas, failures, other versions."""

__version__ = "0.32.0"
