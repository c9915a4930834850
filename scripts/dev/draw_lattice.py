"""Draws when the heads of models emit the words of one utterance, given its transcript.

    python scripts/dev/draw_lattice.py exp/before exp/after --cuts CUTS --cut ID --out lattice.svg

One column of panels for each model, one row for each head. A panel shades token u at time t by the
probability that an alignment of the transcript emits it there; boxes are the words as they were
spoken. On top stands the log-probability of the transcript, and below it that of the transcript
without the second of two equal tokens.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from lhotse import CutSet
from lhotse.cut import MonoCut
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from zipformer.checkpoint.loading import LoadedModel, load_model
from zipformer.context import Context
from zipformer.data.features import extract
from zipformer.losses.lattice import lattice_log_prob

FRAME = 0.04  # seconds of an output frame
Emissions = tuple[float, Tensor]  # log-probability of a transcript, (U, T) where it is emitted


def transducer_emissions(loaded: LoadedModel, encoded: Tensor, tokens: list[int]) -> Emissions:
    """By the whole lattice of the type that was trained; ``encoded`` is (T, D)."""
    predictor, joiner = loaded.model.predictor, loaded.model.joiner
    assert predictor is not None and joiner is not None
    blank = predictor.blank_id
    predicted = predictor(torch.tensor([[blank, *tokens]]))  # (1, U + 1, P)
    log_probs = joiner(encoded[None, None], predicted[:, :, None]).log_softmax(-1)
    ids = torch.tensor(tokens)[None, :, None, None].expand(-1, -1, log_probs.shape[2], -1)
    px, py = log_probs[:, :-1].gather(3, ids).squeeze(3), log_probs[..., blank]  # (1, U, T)
    sizes = torch.tensor([[0, 0, len(tokens), len(encoded)]])
    if loaded.config.loss.rnnt_type == "constrained":
        px = px + py[:, 1:]
    elif loaded.config.loss.rnnt_type == "regular":
        px = F.pad(px, (0, 1), value=-torch.inf)
    total, emitted, _ = lattice_log_prob(px, py, sizes)
    return float(total), emitted[0, :, : len(encoded)]


def ctc_emissions(loaded: LoadedModel, encoded: Tensor, tokens: list[int]) -> Emissions:
    """By the alignments of the CTC head: a token is emitted where its run begins.

    The states are blank, token, blank, token ... blank. The gradient of the log-probability with
    respect to an arc's is the probability that an alignment passes it.
    """
    output = loaded.model.ctc_output
    assert output is not None
    log_probs = output(encoded[None])[0]  # (T, V)
    labels = [0] + [state for token in tokens for state in (token, 0)]
    said = log_probs[:, labels]  # (T, 2 U + 1)
    skips = torch.zeros(len(labels)) - torch.inf  # from one token to the next, no blank between
    for state in range(3, len(labels), 2):
        skips[state] = 0.0 if labels[state] != labels[state - 2] else -torch.inf
    with torch.enable_grad():
        begins = torch.zeros_like(said, requires_grad=True)
        alpha = (said[0] + begins[0])[:2]
        alpha = F.pad(alpha, (0, len(labels) - 2), value=-1e9)
        for t in range(1, len(said)):
            comes = torch.logaddexp(
                F.pad(alpha, (1, 0), value=-1e9)[:-1],
                (F.pad(alpha, (2, 0), value=-1e9)[:-2] + skips).clamp(min=-1e9),
            )
            alpha = torch.logaddexp(alpha, comes + begins[t]) + said[t]
        total = torch.logaddexp(alpha[-1], alpha[-2])
        (passed,) = torch.autograd.grad(total, begins)
    return float(total.detach()), passed[:, 1::2].T


def find_cut(manifest: Path, cut_id: str) -> MonoCut:
    """The cut of that id.

    Raises:
        SystemExit: If there is none.
    """
    for cut in CutSet.from_file(manifest):
        if cut.id == cut_id:
            return cut
    raise SystemExit(f"error: no cut {cut_id} in {manifest}")


HEADS = {"transducer": transducer_emissions, "ctc": ctc_emissions}


def without_repeats(tokens: list[int]) -> list[int]:
    """Every token that differs from the one before it."""
    return [token for i, token in enumerate(tokens) if i == 0 or token != tokens[i - 1]]


@torch.no_grad()
def draw_panel(ax: Axes, loaded: LoadedModel, head: str, cut: MonoCut, context: Context) -> None:
    """One head of one model."""
    features = extract(cut.load_audio())
    lengths = torch.tensor([len(features)])
    encoded, lengths = loaded.model.encoder(features[None], lengths, context)
    encoded = encoded[0, : int(lengths)]
    tokens = loaded.tokenizer.encode(cut.supervisions[0].text)
    total, emitted = HEADS[head](loaded, encoded, tokens)
    shorter, _ = HEADS[head](loaded, encoded, without_repeats(tokens))
    ax.imshow(
        emitted,
        aspect="auto",
        origin="lower",
        cmap="Blues",
        vmin=0,
        vmax=1,
        extent=(0, len(encoded) * FRAME, -0.5, len(tokens) - 0.5),
        interpolation="nearest",
    )
    for word, item in enumerate(cut.supervisions[0].alignment["word"]):
        box = (item.start, word - 0.5), item.duration, 1.0
        ax.add_patch(Rectangle(*box, fill=False, edgecolor="tab:orange"))
    ax.set_yticks(range(len(tokens)), [loaded.tokenizer.decode([token]) for token in tokens])
    ax.set_title(
        f"{head}: {total:.2f} with the repeats, {shorter:.2f} without", fontsize=9, loc="left"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path, help="runs or checkpoints")
    parser.add_argument("--cuts", type=Path, required=True, help="manifest, words in alignments")
    parser.add_argument("--cut", required=True, help="id of the utterance")
    parser.add_argument("--context", type=Context.parse, default=Context.parse("full"))
    parser.add_argument("--out", type=Path, required=True, help="SVG, PNG or PDF")
    options = parser.parse_args()
    cut = find_cut(options.cuts, options.cut)
    models = [load_model(path) for path in options.runs]
    heads = [h for h in HEADS if all(h in m.config.model.heads for m in models)]
    with rc_context({"font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "lattice"}):
        figure = Figure(figsize=(5 * len(models), 2.2 * len(heads)), layout="constrained")
        axes = figure.subplots(len(heads), len(models), squeeze=False, sharex=True)
        for row, head in zip(axes, heads, strict=True):
            for ax, loaded in zip(row, models, strict=True):
                draw_panel(ax, loaded, head, cut, options.context)
        for ax in axes[-1]:
            ax.set_xlabel("seconds")
        metadata = {"Date": None} if options.out.suffix == ".svg" else None
        figure.savefig(options.out, dpi=150, metadata=metadata)
    print(f"{options.out}: {cut.supervisions[0].text}")


if __name__ == "__main__":
    main()
