"""Training steps on a CUDA device that computes nothing. To be imported before torch."""

from scripts.dev import cuda_guard

cuda_guard.load()
