"""Models that others trained: their files, names and sizes, read without running their code."""
