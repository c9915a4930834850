"""Trained models as files: for publishing, and for other runtimes."""
