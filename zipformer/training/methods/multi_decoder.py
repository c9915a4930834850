"""Full and streaming context in every step, each through heads of its own."""

from __future__ import annotations

import torch
from torch import Tensor

from zipformer.data.batch import Batch
from zipformer.losses import similarity_distance
from zipformer.model import AsrModel
from zipformer.training.methods.base import Method, StepInfo, StepLoss
from zipformer.training.methods.encodings import Between, Encoding, encode_twice, sum_up


class MultiDecoder(Method):
    """One encoder, two sets of heads (arXiv 2405.13514).

    What holds the two together beside the encoder are distances between the similarities of the
    minibatch: of encoder outputs, and of decoder states, those of the predictors and of the
    attention decoders. They are weighed with the number of frames, as all other losses are sums.
    """

    def loss(self, model: AsrModel, batch: Batch, step: StepInfo) -> StepLoss:
        """The losses of both contexts, and the distances between their similarities."""
        settings = self.settings
        encodings, lengths = encode_twice(model, batch, step, settings)
        one, other = encodings
        between: Between = {}
        if settings.encoder_similarity > 0:
            distance = similarity_distance(one.out, other.out, lengths)
            between["encoder_similarity"] = settings.encoder_similarity, lengths.sum() * distance
        if settings.decoder_similarity > 0:
            states = [self._decoder_states(encoding, lengths) for encoding in encodings]
            places = one.targets.lengths + 1
            distance = sum(
                (similarity_distance(a, b, places) for a, b in zip(*states, strict=True)),
                start=torch.zeros((), device=lengths.device),
            )
            between["decoder_similarity"] = settings.decoder_similarity, lengths.sum() * distance
        return sum_up(encodings, lengths, between, step, self.loss_settings)

    def _decoder_states(self, encoding: Encoding, lengths: Tensor) -> list[Tensor]:
        """(B, U + 1, .) of predictor and attention decoder, as far as there are any."""
        targets, decoder = encoding.targets, encoding.heads.attention_decoder
        found = [] if targets.predictor_out is None else [targets.predictor_out]
        if decoder is not None and self.loss_settings.aed_scale > 0:
            states = decoder.states(targets.tokens, encoding.out, lengths)
            encoding.computed.decoder_states = states
            found.append(states)
        return found
