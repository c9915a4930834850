"""Cuts manifests in, batches out. Knows lhotse's manifests, and no corpus by name."""
