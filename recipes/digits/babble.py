"""Babble: several other people talking at once, mixed under speech or kept as noise.

``babble.py mix`` lays it under every cut of a manifest and writes a harder copy of the set;
``babble.py noise`` writes babble alone, for training to mix in (``data.noise``).
The talkers come from a pool of cuts, strung together until they last long enough.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from collections import defaultdict
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import numpy as np
import soundfile
from lhotse import CutSet, MonoCut, Recording
from lhotse.utils import fastcopy

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout as it is

from local.lib.errors import one_line_errors
from local.lib.manifest_lines import write_items
from zipformer.data.audio import cut_samples
from zipformer.data.manifests import check_manifest
from zipformer.progress import shown

NOISE_RMS = 0.05  # level of babble that is stored alone


class Talkers:
    """A pool of speech, by speaker.

    Args:
        cuts: Cuts with one supervision each, which names the speaker.
    """

    def __init__(self, cuts: CutSet) -> None:
        self.cuts: dict[str, list[MonoCut]] = defaultdict(list)
        for cut in cuts:
            self.cuts[cut.supervisions[0].speaker].append(cut)
        self._samples: dict[str, np.ndarray] = {}

    def babble(
        self, num_samples: int, count: int, avoid: str, rng: np.random.Generator
    ) -> tuple[np.ndarray, list[str]]:
        """(num_samples,) float32 of ``count`` speakers other than ``avoid``, equally loud.

        Returns:
            The sum of the speakers at a mean power of one, and their names.
        """
        others = sorted(set(self.cuts) - {avoid})
        if len(others) < count:
            raise ValueError(f"babble of {count} speakers, but the pool has {len(others)} others")
        chosen = [others[i] for i in rng.permutation(len(others))[:count]]
        total = sum(self._talk(name, num_samples, rng) for name in chosen)
        assert isinstance(total, np.ndarray)
        return total / _rms(total), chosen

    def _talk(self, speaker: str, num_samples: int, rng: np.random.Generator) -> np.ndarray:
        """One speaker's cuts in random order, from somewhere in the first one on."""
        cuts = self.cuts[speaker]
        parts: list[np.ndarray] = []
        missing = num_samples
        for index in cycle(rng.permutation(len(cuts)).tolist()):
            samples = self._load(cuts[index])
            if not parts:
                samples = samples[rng.integers(len(samples) // 2) :]
            parts.append(samples[:missing])
            missing -= len(parts[-1])
            if missing <= 0:
                break
        speech = np.concatenate(parts)
        return speech / _rms(speech)

    def _load(self, cut: MonoCut) -> np.ndarray:
        if cut.id not in self._samples:
            self._samples[cut.id] = cut_samples(cut, cut.sampling_rate)
        return self._samples[cut.id]


def _rms(samples: np.ndarray) -> float:
    return max(float(np.sqrt(np.mean(samples**2))), 1e-8)


def add_babble(samples: np.ndarray, babble: np.ndarray, snr: float) -> np.ndarray:
    """Speech over babble at ``snr`` decibels (mean powers of the whole), kept below full scale."""
    mixed = samples + babble * (_rms(samples) / _rms(babble) * 10 ** (-snr / 20))
    return mixed / max(1.0, float(np.abs(mixed).max()) / 0.99)


def _random(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def mix(
    cuts: CutSet,
    talkers: Talkers,
    audio_dir: Path,
    speakers: tuple[int, int],
    snr: tuple[float, float],
    seed: int,
) -> Iterator[MonoCut]:
    """Yields a copy of every cut over babble of other speakers; what is drawn depends on its id."""
    audio_dir.mkdir(parents=True, exist_ok=True)
    for cut in shown(cuts, "strings over babble", 0, "strings"):
        rng = _random(seed, cut.id)
        samples = cut_samples(cut, cut.sampling_rate)
        count = int(rng.integers(speakers[0], speakers[1] + 1))
        speaker = cut.supervisions[0].speaker
        babble, names = talkers.babble(len(samples), count, speaker, rng)
        level = float(rng.uniform(*snr))
        noisy_id = f"{cut.id}-babble"
        recording = _write(
            noisy_id, audio_dir, add_babble(samples, babble, level), cut.sampling_rate
        )
        noisy = recording.to_cut()
        noisy.id = noisy_id
        noisy.supervisions = [
            fastcopy(s, id=f"{s.id}-babble", recording_id=noisy_id) for s in cut.supervisions
        ]
        noisy.custom = {**(cut.custom or {}), "snr": round(level, 2), "babble": names}
        yield noisy


def noise(
    talkers: Talkers,
    count: int,
    seconds: float,
    audio_dir: Path,
    speakers: tuple[int, int],
    prefix: str,
    seed: int,
    sample_rate: int = 16000,
) -> Iterator[MonoCut]:
    """Yields ``count`` cuts of babble without supervisions."""
    audio_dir.mkdir(parents=True, exist_ok=True)
    for index in shown(range(count), prefix, count, "cuts of babble"):
        cut_id = f"{prefix}-{index:04d}"
        rng = _random(seed, cut_id)
        several = int(rng.integers(speakers[0], speakers[1] + 1))
        babble, names = talkers.babble(int(seconds * sample_rate), several, "", rng)
        samples = np.clip(NOISE_RMS * babble, -0.99, 0.99)
        cut = _write(cut_id, audio_dir, samples, sample_rate).to_cut()
        cut.id, cut.custom = cut_id, {"babble": names}
        yield cut


def _write(name: str, audio_dir: Path, samples: np.ndarray, sample_rate: int) -> Recording:
    path = (audio_dir / f"{name}.flac").resolve()
    soundfile.write(path, samples, sample_rate, subtype="PCM_16")
    return Recording.from_file(path, recording_id=name)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("mix", "noise"))
    parser.add_argument("--cuts", type=Path, help="mix: the clean set")
    parser.add_argument("--talkers", type=Path, required=True, help="cuts to make babble of")
    parser.add_argument(
        "--speakers", type=int, nargs=2, default=(2, 3), help="least and most at once"
    )
    parser.add_argument("--snr", type=float, nargs=2, default=(5.0, 15.0), help="mix: decibels")
    parser.add_argument("--count", type=int, default=100, help="noise: cuts to make")
    parser.add_argument("--seconds", type=float, default=10.0, help="noise: length of each")
    parser.add_argument("--prefix", default="babble", help="noise: of the cut ids")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--audio-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="cuts manifest to write")
    args = parser.parse_args()
    if args.what == "mix" and args.cuts is None:
        parser.error("mix needs --cuts")
    return args


def main() -> None:
    args = parse_args()
    with one_line_errors(args.audio_dir):
        made = list(make(args))
        write_items(args.out, made)
    seconds = sum(cut.duration for cut in made)
    print(f"{args.out}: {len(made)} cuts, {seconds / 60:.1f} minutes")


def make(args: argparse.Namespace) -> Iterator[MonoCut]:
    """The cuts that the command line asks for."""
    check_manifest(args.talkers)
    talkers = Talkers(CutSet.from_file(args.talkers))
    speakers = (args.speakers[0], args.speakers[1])
    if args.what == "noise":
        return noise(
            talkers, args.count, args.seconds, args.audio_dir, speakers, args.prefix, args.seed
        )
    check_manifest(args.cuts)
    cuts, snr = CutSet.from_file(args.cuts), (args.snr[0], args.snr[1])
    return mix(cuts, talkers, args.audio_dir, speakers, snr, args.seed)


if __name__ == "__main__":
    main()
