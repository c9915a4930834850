"""Which cuts training may use, and why it drops the others."""

from __future__ import annotations

from collections import Counter

from lhotse import Fbank
from lhotse.cut import Cut

from zipformer.config import DataConfig
from zipformer.context import FRAME_SECONDS, output_frames
from zipformer.data.audio import check_one_channel, check_sample_rate
from zipformer.data.features import MIN_SAMPLES
from zipformer.data.manifests import text_of
from zipformer.tokens import Tokenizer

SPARE_FRAMES = 2  # output frames that a transcript leaves over, at the least


class TrainingFilter:
    """Says of every cut whether it can be trained on, and counts those that cannot.

    Args:
        config: ``min_seconds``, ``max_seconds``, ``sample_rate`` and ``speed_factors`` are used.
        tokenizer: Its tokens must be able to write every transcript; None checks no text.
    """

    def __init__(self, config: DataConfig, tokenizer: Tokenizer | None) -> None:
        self.config = config
        self.tokenizer = tokenizer
        self.dropped: Counter[str] = Counter()

    def __call__(self, cut: Cut) -> bool:
        """Whether to keep a cut; counts it in ``dropped`` otherwise.

        Raises:
            ValueError: If the cut shows that the data and the config do not fit: another sample
                rate, another kind of features, speed factors for stored features, characters that
                no token can write.
        """
        check_audio(cut, self.config.sample_rate)
        if cut.has_features and self.config.speed_factors != (1.0,):
            raise ValueError(
                f"data.speed_factors = {self.config.speed_factors}, but cut {cut.id} comes with "
                "stored features, which cannot change their speed: make the copies in preparation "
                "(local/compute_fbank.py --speed-factors), or train on cuts without features"
            )
        reason = self.reason_to_drop(cut)
        if reason is not None:
            self.dropped[reason] += 1
        return reason is None

    def reason_to_drop(self, cut: Cut) -> str | None:
        """Why a cut cannot be trained on; None if it can.

        Raises:
            ValueError: If its transcript holds characters that no token can write.
        """
        if cut.duration * cut.sampling_rate < MIN_SAMPLES:
            return "empty or nearly so"
        if cut.duration < self.config.min_seconds:
            return "shorter than data.min_seconds"
        if cut.duration > self.config.max_seconds:
            return "longer than data.max_seconds"
        text = text_of(cut)
        if not text:
            return "no transcript"
        if not self._fits(cut, text):
            return "more tokens than output frames"
        return None

    def _fits(self, cut: Cut, text: str) -> bool:
        """Whether a cut has frames for the tokens of its transcript; without a tokenizer for none.

        Cuts of all processes are asked about, and only those of one are tokenized by it: a bound
        nearly always decides.
        """
        room = self._fewest_frames(cut) - SPARE_FRAMES
        if self.tokenizer is None:
            return room >= 0
        normalized = self.tokenizer.normalize(text)
        unknown = self.tokenizer.unknown_in(normalized)
        if unknown:
            raise ValueError(
                f"cut {cut.id}: its transcript {text!r} holds characters that no token of "
                f"{self.tokenizer.path} can write: {' '.join(sorted(map(repr, unknown)))}; "
                "normalize the text in preparation, or train the token set on it"
            )
        return room >= self.tokenizer.most_tokens(normalized) or room >= len(
            self.tokenizer.encode(text)
        )

    def _fewest_frames(self, cut: Cut) -> int:
        """Output frames of the cut at its fastest."""
        if cut.has_features:
            return output_frames(cut.num_frames)
        fastest = max(self.config.speed_factors)
        return output_frames(int(cut.duration / fastest / FRAME_SECONDS))


def check_audio(cut: Cut, sample_rate: int) -> None:
    """Refuses a cut that this model's features cannot be made of.

    Raises:
        ValueError: If its sample rate, its channels or the kind of its stored features do not fit,
            naming the cut and what to do.
    """
    check_sample_rate(cut, sample_rate)
    check_one_channel(cut)
    features = getattr(cut, "features", None)
    if features is not None and features.type != Fbank.name:
        raise ValueError(
            f"cut {cut.id} has stored features of the kind {features.type!r}, not {Fbank.name!r}: "
            "compute them with local/compute_fbank.py"
        )
