"""Every search that there is, over heads with much to say."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from biasing.plain_bonus import hotwords
from search.talkative_heads import UNK, D, V, talkative_heads, talkative_output

from zipformer.biasing import Hotwords
from zipformer.heads.attention_decoder import AttentionDecoder
from zipformer.search.attention_rescoring import AttentionRescoring
from zipformer.search.beam_search import ModifiedBeamSearch
from zipformer.search.ctc_prefix_search import CtcPrefixBeamSearch
from zipformer.search.ctc_search import CtcGreedySearch
from zipformer.search.greedy_search import GreedySearch
from zipformer.search.joint_beam_search import JointBeamSearch
from zipformer.search.protocol import BeamSearcher, Searcher

# Over the tokens that the heads here say: they begin alike, overlap and lie within each other.
PHRASES = [((1, 3), 0.9), ((1, 3, 4, 5), 0.6), ((3, 4), 1.1), ((5, 6, 5), 1.3), ((6,), 0.2)]
PHRASES += [((4, 4), 0.8), ((1, 6, 4), -0.4)]
SOME = hotwords(*PHRASES, vocabulary=V)


def greedy(unk_id: int | None = UNK, seed: int = 0) -> GreedySearch:
    return GreedySearch(*talkative_heads(seed), unk_id=unk_id)


def modified_beam(
    beam: int = 4,
    unk_id: int | None = UNK,
    seed: int = 0,
    calm: float = 1.0,
    horizon: int = 1000,
    phrases: Hotwords | None = None,
) -> ModifiedBeamSearch:
    """Smaller logits (``calm``) leave more hypotheses alike, which become one more often."""
    predictor, joiner = talkative_heads(seed)
    with torch.no_grad():
        joiner.output_linear.weight.div_(calm)
    return ModifiedBeamSearch(predictor, joiner, 0, unk_id, beam, horizon, phrases)


def joint_beam(
    beam: int = 4,
    unk_id: int | None = UNK,
    weight: float = 0.4,
    calm: float = 2.0,
    horizon: int = 1000,
    phrases: Hotwords | None = None,
) -> JointBeamSearch:
    heads, output = modified_beam(calm=calm), talkative_output(calm=calm)
    words = (heads.predictor, heads.joiner, output, 0, unk_id)
    return JointBeamSearch(*words, beam, weight, horizon, phrases)


def ctc_greedy(unk_id: int | None = UNK) -> CtcGreedySearch:
    return CtcGreedySearch(talkative_output(), unk_id=unk_id)


def ctc_prefix_beam(
    beam: int = 4,
    unk_id: int | None = UNK,
    seed: int = 0,
    calm: float = 2.0,
    horizon: int = 1000,
    phrases: Hotwords | None = None,
) -> CtcPrefixBeamSearch:
    return CtcPrefixBeamSearch(talkative_output(seed, calm), 0, unk_id, beam, horizon, phrases)


def attention_decoder(seed: int = 0) -> AttentionDecoder:
    """One that is sure enough to overrule the first search, now and then."""
    generator = torch.Generator().manual_seed(seed)
    decoder = AttentionDecoder(V, D, num_layers=2, dim=8, num_heads=2, feedforward_dim=12)
    with torch.no_grad():
        for p in decoder.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=generator))
    return decoder.eval()


def rescoring(
    first: str = "ctc", weight: float = 0.5, phrases: Hotwords | None = None
) -> AttentionRescoring:
    search: BeamSearcher[Any] = modified_beam(calm=4.0, phrases=phrases)
    if first == "ctc":
        search = ctc_prefix_beam(calm=3.0, phrases=phrases)
    return AttentionRescoring(search, attention_decoder(), weight)


SEARCHES: dict[str, Callable[[], Searcher[Any]]] = {
    "greedy": greedy,
    "modified_beam": partial(modified_beam, calm=2.0),
    "modified_beam of 1": partial(modified_beam, beam=1),
    "modified_beam of 2 with a horizon": partial(modified_beam, beam=2, calm=2.0, horizon=3),
    "modified_beam with the shortest horizon": partial(modified_beam, calm=2.0, horizon=1),
    "joint_beam": joint_beam,
    "joint_beam of 1": partial(joint_beam, beam=1),
    "joint_beam of 2 with a horizon": partial(joint_beam, beam=2, horizon=3),
    "ctc_greedy": ctc_greedy,
    "ctc_prefix_beam": ctc_prefix_beam,
    "ctc_prefix_beam of 1": partial(ctc_prefix_beam, beam=1),
    "ctc_prefix_beam of 2 with a horizon": partial(ctc_prefix_beam, beam=2, horizon=3),
    "ctc_prefix_beam with the shortest horizon": partial(ctc_prefix_beam, horizon=1),
    "rescoring after ctc": partial(rescoring, "ctc", 0.7),
    "rescoring after modified_beam": partial(rescoring, "transducer", 0.7),
    "modified_beam with phrases": partial(modified_beam, calm=2.0, phrases=SOME),
    "modified_beam with phrases and a horizon": partial(
        modified_beam, beam=2, calm=2.0, horizon=3, phrases=SOME
    ),
    "joint_beam with phrases": partial(joint_beam, phrases=SOME),
    "ctc_prefix_beam with phrases": partial(ctc_prefix_beam, phrases=SOME),
    "rescoring after modified_beam with phrases": partial(
        rescoring, "transducer", 0.7, phrases=SOME
    ),
}
