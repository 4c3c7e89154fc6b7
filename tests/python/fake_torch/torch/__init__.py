"""PyTorch as far as Stepscope asks it: CUDA's state and current stream, and nothing that could initialise it unseen."""

from torch import cuda  # noqa: F401
