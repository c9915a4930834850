"""Files on disk, averaging, loading a model to use, and starting from other weights."""
