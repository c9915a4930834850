"""What encoders cost: parameters, operations, and where it was measured time and memory.

``costs.json`` in the folder of a study keeps the costs of its runs: what was counted is not
counted again, what was measured is shown by the page.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import get_args

import torch
from torch import nn

from zipformer.checkpoint.fingerprint import fingerprint
from zipformer.config import ModelConfig
from zipformer.config.reading import suggest
from zipformer.config.run import AnyEncoderConfig
from zipformer.config.toml import to_dict
from zipformer.context import Context, parse_contexts
from zipformer.files import write_text
from zipformer.model import AsrModel
from zipformer.nn.encoder_config import EncoderConfig
from zipformer.study.counting import count_operations
from zipformer.study.description import Study
from zipformer.study.measuring import Measurement
from zipformer.tokens.reading import open_tokenizer

COSTS = "costs.json"
VOCABULARY = 500  # tokens of the models whose parameters the literature gives
LETTERS = {"small": "S", "medium": "M", "large": "L", "xlarge": "XL"}
FULL = (Context.full(),)


@dataclass(frozen=True)
class Encoder:
    """An encoder with a name, and the model that it is in.

    Args:
        name: Of a published size, or of a run.
        config: Kind and sizes.
        contexts: At which it is looked at.
        model: The heads.
        vocabulary: Tokens, with the blank; None if they are not known yet.
        streaming_heads: Whether streaming contexts have heads of their own.
    """

    name: str
    config: EncoderConfig
    contexts: tuple[Context, ...]
    model: ModelConfig = ModelConfig()
    vocabulary: int | None = VOCABULARY
    streaming_heads: bool = False


@dataclass(frozen=True)
class Cost:
    """What an encoder costs at one context.

    Args:
        name: Of a published size, or of a run.
        context: As ``Context`` writes it.
        params_m: Parameters of the model that the encoder is in, in millions; None if its
            vocabulary is not there yet.
        encoder_params_m: Those of the encoder.
        gflops_30s: Operations in thousand millions for 30 s of audio: the sum of the next three.
        products: Of matrix products.
        convolutions: Of convolutions.
        others: Of activations, norms, softmax, gates and sums.
        encoder: Fingerprint of the encoder's kind and sizes.
        measured: Time and memory; None if these were not measured.
    """

    name: str
    context: str
    params_m: float | None
    encoder_params_m: float
    gflops_30s: float
    products: float
    convolutions: float
    others: float
    encoder: str
    measured: Measurement | None = None


def published_encoders(contexts: Sequence[Context] = FULL) -> list[Encoder]:
    """Every size of every kind of encoder, in the transducer that the literature counts.

    In full context they are not causal, as they were published; at other contexts they are.
    """
    found = []
    for kind in get_args(AnyEncoderConfig):
        for size in kind.SIZES:
            name = f"{kind.__name__.removesuffix('Config')}-{LETTERS.get(size, size)}"
            for full in dict.fromkeys(context.is_full for context in contexts):
                some = tuple(context for context in contexts if context.is_full == full)
                found.append(Encoder(name, getattr(kind, size)(causal=not full), some))
    return found


def encoders_of(study: Study, contexts: Sequence[Context] = ()) -> list[Encoder]:
    """The encoders of a study's runs, at the contexts at which they are decoded, or at others."""
    found = []
    for run in study.runs:
        config = study.config_of(run, study.seeds_of(run)[0])
        file = config.data.bpe_model
        found.append(
            Encoder(
                name=run.name,
                config=config.encoder,
                contexts=tuple(contexts or parse_contexts(study.contexts_of(run))),
                model=config.model,
                vocabulary=open_tokenizer(file).vocab_size if file.is_file() else None,
                streaming_heads=config.method.rules.separate_heads,
            )
        )
    return found


def choose(encoders: Sequence[Encoder], names: Sequence[str]) -> list[Encoder]:
    """Those with one of these names; all if there is none.

    Raises:
        ValueError: On a name that nobody has, with the nearest ones.
    """
    known = list(dict.fromkeys(encoder.name for encoder in encoders))
    for name in names:
        if name not in known:
            raise ValueError(f"--encoders: there is no {name}{suggest(name, known)}")
    return [encoder for encoder in encoders if not names or encoder.name in names]


def at_contexts(encoders: Sequence[Encoder]) -> Iterator[tuple[Encoder, Context]]:
    """Each encoder at each of its contexts.

    Raises:
        ValueError: If an encoder cannot compute one, before anything is counted.
    """
    for encoder in encoders:
        for context in encoder.contexts:
            try:
                encoder.config.check_context(context)
            except ValueError as error:
                raise ValueError(f"{encoder.name}: {error}") from None
    for encoder in encoders:
        for context in encoder.contexts:
            yield encoder, context


def cost_of(encoder: Encoder, context: Context) -> Cost:
    """Counts, and measures nothing."""
    model = _without_numbers(encoder)
    operations = count_operations(model.encoder, context)
    return Cost(
        name=encoder.name,
        context=str(context),
        params_m=_model_size(encoder),
        encoder_params_m=_millions(model.encoder),
        gflops_30s=operations.total / 1e9,
        products=operations.products / 1e9,
        convolutions=operations.convolutions / 1e9,
        others=operations.others / 1e9,
        encoder=_fingerprint(encoder.config),
    )


def costs_of(study: Study) -> list[Cost]:
    """Costs of a study's runs at the contexts at which they are decoded.

    What ``costs.json`` does not have is counted and added to it; what it has of other encoders, as
    the runs had them before, is left out.

    Raises:
        ValueError: If the file is damaged.
    """
    before = read_costs(study.exp_dir)
    kept = {(cost.encoder, cost.context): cost for cost in before}
    costs: list[Cost] = []
    for encoder, context in at_contexts(encoders_of(study)):
        known = kept.get((_fingerprint(encoder.config), str(context)))
        counted = known or cost_of(encoder, context)
        kept[counted.encoder, counted.context] = counted
        costs.append(replace(counted, name=encoder.name, params_m=_model_size(encoder)))
    if costs != before:
        write_costs(study.exp_dir, costs)
    return costs


def write_costs(folder: Path, costs: Sequence[Cost]) -> None:
    """Writes ``costs.json`` into the folder of a study."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / COSTS, to_json(costs) + "\n")


def read_costs(folder: Path) -> list[Cost]:
    """Reads ``costs.json``; nothing if there is none.

    Raises:
        ValueError: If it is damaged, naming it.
    """
    path = folder / COSTS
    if not path.is_file():
        return []
    try:
        costs = []
        for values in json.loads(path.read_text(encoding="utf-8")):
            measured = values.pop("measured")
            costs.append(Cost(**values, measured=Measurement(**measured) if measured else None))
        return costs
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({error}): delete it, it is made anew") from None


def to_json(costs: Sequence[Cost]) -> str:
    """A list with an object for each."""
    return json.dumps([asdict(cost) for cost in costs], indent=2)


@lru_cache(maxsize=1)
def _without_numbers(encoder: Encoder) -> AsrModel:
    """The model that an encoder is in, as shapes alone."""
    with torch.device("meta"):
        model = AsrModel(
            encoder.config,
            encoder.vocabulary or VOCABULARY,
            encoder.model,
            streaming_heads=encoder.streaming_heads,
        )
    return model.eval()


def _model_size(encoder: Encoder) -> float | None:
    return None if encoder.vocabulary is None else _millions(_without_numbers(encoder))


def _millions(module: nn.Module) -> float:
    return sum(p.numel() for p in module.parameters()) / 1e6


def _fingerprint(config: EncoderConfig) -> str:
    return fingerprint((key, json.dumps(value)) for key, value in to_dict(config).items())
