"""What a model comes from is what its checkpoint kept, else what can still be found out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from decoding.tiny_run import tiny_run, write_cuts

from zipformer.decoding.fingerprint import training_data_fingerprint
from zipformer.decoding.provenance import Provenance, provenance_of, training_provenance
from zipformer.training.loaded_model import LoadedModel


@dataclass(frozen=True)
class Kept(LoadedModel):
    provenance: Provenance | None = None


def test_what_the_checkpoint_kept_is_believed_whatever_the_manifests_now_hold(
    tmp_path: Path,
) -> None:
    cuts = write_cuts(tmp_path, "train", ["one"])
    loaded = tiny_run(tmp_path, train=(cuts,))
    now = training_provenance(loaded.config)
    assert now["data"] == training_data_fingerprint(loaded.config.data) is not None
    fields = {name: value for name, value in vars(loaded).items() if name != "provenance"}
    kept: Provenance = {"git_commit": "c0ffee", "data": "then"}
    assert provenance_of(Kept(**fields, provenance=kept)) == kept
    older = provenance_of(replace(Kept(**fields), provenance=None))
    assert older == {"git_commit": None, "data": now["data"]}
