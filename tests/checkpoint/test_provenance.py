"""What a model comes from is what its checkpoint kept, else what can still be found out."""

from __future__ import annotations

from pathlib import Path

from tiny_run import tiny_run, write_cuts

from zipformer.checkpoint.fingerprint import training_data_fingerprint
from zipformer.checkpoint.provenance import Provenance, known_provenance, training_provenance


def test_what_the_checkpoint_kept_is_believed_whatever_the_manifests_now_hold(
    tmp_path: Path,
) -> None:
    cuts = write_cuts(tmp_path, "train", ["one"])
    loaded = tiny_run(tmp_path, train=(cuts,))
    now = training_provenance(loaded.config)
    assert now["data"] == training_data_fingerprint(loaded.config.data) is not None
    kept: Provenance = {"git_commit": "c0ffee", "data": "then"}
    assert known_provenance(kept, loaded.config.data) == kept
    older = known_provenance(None, loaded.config.data)
    assert older == {"git_commit": None, "data": now["data"]}
