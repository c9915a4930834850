"""Where published models keep what belongs together: weights, and the tokens that they emit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from zipformer.tokens import Tokenizer, open_tokenizer

WEIGHTS = ("model.safetensors", "model.pt", "pretrained.safetensors", "pretrained.pt")
AVERAGED = re.compile(r"(?:epoch|iter)-(\d+)-avg-\d+\.pt")
OF_A_TRAINING = re.compile(r"(?:epoch|checkpoint)-(\d+)\.pt")
# Graphs in float32, the last resort: an encoder, with decoder and joiner beside it, or CTC alone.
FLOAT32 = r"(?!.*(?:int8|fp16)).*\.onnx"
GRAPH = re.compile("(?:encoder|ctc|model)" + FLOAT32)
# In the order of how much they can do: cut text and write it, or write it alone.
VOCABULARIES = (re.compile(r".+\.model"), re.compile(r".+\.vocab"), re.compile(r"tokens\.txt"))
DEEPEST = 4  # parts of a path that are looked at: exp/data/lang_bpe_500/bpe.model
SHOWN = 8


def choose_weights(names: Iterable[str]) -> str:
    """Which file of a model's folder holds its weights.

    Args:
        names: Paths in the folder, with slashes.

    Raises:
        ValueError: If there is none, listing what there is.
    """
    paths = [PurePosixPath(name) for name in names]
    for wanted in WEIGHTS:
        if found := [path for path in paths if path.name == wanted]:
            return str(min(found, key=lambda path: len(path.parts)))
    for pattern in (AVERAGED, OF_A_TRAINING):
        numbered = {p: int(match[1]) for p in paths if (match := pattern.fullmatch(p.name))}
        if numbered:
            return str(max(numbered, key=lambda path: numbered[path]))
    if graphs := [path for path in paths if GRAPH.fullmatch(path.name)]:
        return str(min(graphs, key=lambda path: (len(path.parts), path)))
    shown = ", ".join(map(str, paths[:SHOWN])) or "nothing"
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    raise ValueError(
        f"there are no weights: neither {', '.join(WEIGHTS)}, epoch-N.pt nor encoder*.onnx; it has "
        f"{shown}{more}"
    )


def graphs_with(encoder: str, names: Iterable[str]) -> dict[str, str]:
    """The graphs that make a model together with an encoder's: ``decoder`` and ``joiner``.

    Args:
        encoder: Of the names; a graph that is called otherwise ends with a CTC head and is alone.
        names: Paths with slashes.

    Returns:
        A path of each part, ``encoder`` among them.

    Raises:
        ValueError: If there is not exactly one that could be meant.
    """
    path = PurePosixPath(encoder)
    parts = {"encoder": encoder}
    if not path.name.startswith("encoder"):
        return parts
    beside = [p for p in map(PurePosixPath, names) if p.parent == path.parent]
    for part in ("decoder", "joiner"):
        found = [str(p) for p in beside if re.fullmatch(part + FLOAT32, p.name)]
        same = str(path.with_name(path.name.replace("encoder", part, 1)))
        if same not in found and len(found) != 1:
            raise ValueError(
                f"beside {encoder} lies no {path.name.replace('encoder', part, 1)}"
                + (f", and which of {', '.join(found)} it is cannot be known" if found else "")
            )
        parts[part] = same if same in found else found[0]
    return parts


def vocabularies(names: Iterable[str]) -> list[str]:
    """The files that may say what a model's tokens are, those first that can do most."""
    paths = [PurePosixPath(name) for name in names]
    found = [
        (rank, len(path.parts), str(path))
        for path in paths
        for rank, pattern in enumerate(VOCABULARIES)
        if pattern.fullmatch(path.name)
    ]
    return [name for *_, name in sorted(found)]


def files_in(folder: Path) -> list[str]:
    """Paths of the files in a folder and a few levels below it, with slashes, sorted."""
    found: list[str] = []
    level = [folder]
    for _ in range(DEEPEST):
        below: list[Path] = []
        for inside in level:
            for path in sorted(inside.iterdir()):
                if path.is_file():
                    found.append(path.relative_to(folder).as_posix())
                elif path.is_dir() and not path.name.startswith("."):
                    below.append(path)
        level = below
    return sorted(found)


def find_tokens(folders: Sequence[Path], vocab_size: int) -> Tokenizer:
    """The vocabulary of a model.

    Args:
        folders: Where to look, and in their folders ``data`` and ``lang_*``.
        vocab_size: How many tokens the model has.

    Raises:
        ValueError: If none has so many tokens, saying what was tried.
    """
    tried: list[str] = []
    for folder in dict.fromkeys(path.resolve() for path in folders):
        for name in vocabularies(_near(folder)):
            try:
                tokenizer = open_tokenizer(folder / name)
            except ValueError as error:
                tried.append(str(error))
                continue
            if tokenizer.vocab_size == vocab_size:
                return tokenizer
            tried.append(f"{folder / name} has {tokenizer.vocab_size} tokens")
    where = " or ".join(map(str, folders))
    found = "; ".join(tried) or f"there is no tokens.txt, *.model or *.vocab in {where}"
    raise ValueError(f"the model has {vocab_size} tokens, but {found}")


def _near(folder: Path) -> list[str]:
    """Files of a folder, its ``data`` and ``lang_*``, and of the ``lang_*`` in its ``data``."""
    places = [folder, folder / "data", *folder.glob("lang_*"), *folder.glob("data/lang_*")]
    return [
        path.relative_to(folder).as_posix()
        for place in places
        if place.is_dir()
        for path in place.iterdir()
        if path.is_file()
    ]
