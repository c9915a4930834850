"""Models of the Hugging Face hub: only the files that are needed, from its cache where they are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from zipformer.released.places import choose_weights, files_in, graphs_with, vocabularies

PREFIX = "hf:"
_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class HubModel:
    """A model on the hub.

    Args:
        name: ``owner/name``.
        revision: A branch, tag or commit; None is the newest.
    """

    name: str
    revision: str | None = None

    @classmethod
    def parse(cls, source: str) -> HubModel:
        """Reads ``hf:OWNER/NAME[@REVISION]``.

        Raises:
            ValueError: If it is something else.
        """
        name, _, revision = source.removeprefix(PREFIX).partition("@")
        if not _NAME.fullmatch(name):
            raise ValueError(f"{source}: write hf:OWNER/NAME, or hf:OWNER/NAME@REVISION")
        return cls(name, revision or None)

    def __str__(self) -> str:
        return PREFIX + self.name + (f"@{self.revision}" if self.revision else "")


def fetch(model: HubModel) -> Path:
    """Downloads weights and vocabularies of a model, as far as they are not in the cache.

    Args:
        model: Its name. ``HF_ENDPOINT``, ``HF_TOKEN``, ``HF_HOME`` and ``HF_HUB_OFFLINE`` of the
            environment hold here as for all that uses the hub.

    Returns:
        The folder that they lie in.

    Raises:
        ImportError: If huggingface_hub is missing.
        ValueError: If there is no such model, it needs a login, it holds no weights, or there is
            neither a network nor a copy in the cache.
    """
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError:
        raise ImportError(
            f"{model} needs the package huggingface_hub; install it with: pip install -e '.[hub]' "
            "in this project's folder, or name files that are on this machine"
        ) from None
    try:
        # Not list_repo_files, which tries for half a minute to reach what is not there.
        info = huggingface_hub.HfApi().model_info(model.name, revision=model.revision)
    except errors.GatedRepoError:
        raise ValueError(
            f"{model} asks for a login: accept its terms on its page, then set HF_TOKEN, or run "
            "hf auth login"
        ) from None
    except errors.RevisionNotFoundError:
        raise ValueError(f"{model}: there is no such revision of {model.name}") from None
    except errors.RepositoryNotFoundError:
        raise ValueError(
            f"{model}: there is no such model on the hub, or it is private; if it is yours, set "
            "HF_TOKEN"
        ) from None
    except Exception as error:  # what the network raises differs between versions
        return _cached(model, error)
    names = [file.rfilename for file in info.siblings or []]
    try:
        weights = choose_weights(names)
        wanted = (*vocabularies(names), *graphs_with(weights, names).values())
    except ValueError as error:
        raise ValueError(f"{model}: {error}") from None
    try:
        for name in wanted:
            path = huggingface_hub.hf_hub_download(model.name, name, revision=model.revision)
    except Exception as error:
        raise ValueError(
            f"{model}: {name} could not be downloaded ({_first_line(error)}); the same command "
            "goes on with what is there"
        ) from None
    return Path(path).parents[len(Path(weights).parts) - 1]


def _cached(model: HubModel, error: Exception) -> Path:
    """The folder of an earlier download."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(model.name, revision=model.revision, local_files_only=True))
        choose_weights(files_in(folder))
    except Exception:
        raise ValueError(
            f"{model}: the hub cannot be reached ({_first_line(error)}), and there is no copy of "
            "this model in its cache on this machine"
        ) from None
    return folder


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
