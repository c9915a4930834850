"""Manifests of TED-LIUM 3, read by lhotse.

The layout is legacy/{train,dev,test}/sph/TALK.sph beside legacy/{train,dev,test}/stm/TALK.stm, a
line for each segment: talk, channel, speaker, begin, end, labels, words. By their suffix lhotse
gives .sph files to the program sph2pipe; soundfile reads those of this corpus as well, and lhotse
has it read them where they go by another name.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lhotse import Recording, RecordingSet
from lhotse.recipes import prepare_tedlium
from lhotse.utils import fastcopy

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout as it is

from local.lib.corpus_command import corpus_command, corpus_parser
from local.lib.corpus_layouts import LAYOUTS
from local.lib.lhotse_corpus import Manifests, reading, write_sets

RECIPE = "tedlium"


def text_rule(text: str) -> str | None:
    """What is left by lhotse of a segment's words: without marks of noise, suffixes joined."""
    return " ".join(text.split()) or None


def read_with_soundfile(corpus: Path, num_jobs: int) -> dict[str, Manifests]:
    """Recordings and segments of all sets, without the program sph2pipe."""
    os.environ["LHOTSE_AUDIO_BACKEND"] = "LibsndfileBackend"  # in processes of lhotse, too
    found: dict[str, Manifests] = prepare_tedlium(corpus, num_jobs=num_jobs, normalize_text="kaldi")
    return found


def by_another_name(manifests: Manifests, folder: Path) -> Manifests:
    """The same with links to the talks, whose names do not end in .sph."""
    folder.mkdir(parents=True, exist_ok=True)

    def linked(recording: Recording) -> Recording:
        (source,) = recording.sources
        link = folder / f"{recording.id}.nist"
        link.unlink(missing_ok=True)
        link.symlink_to(Path(str(source.source)).absolute())
        return fastcopy(recording, sources=[fastcopy(source, source=str(link))])

    recordings = RecordingSet.from_recordings(map(linked, manifests["recordings"]))
    return {"recordings": recordings, "supervisions": manifests["supervisions"]}


def main() -> None:
    args = corpus_parser(__doc__, RECIPE).parse_args()
    with corpus_command(args, RECIPE) as corpus:
        with reading(corpus, LAYOUTS[RECIPE].holds):
            found = read_with_soundfile(corpus, args.num_jobs)
        links = args.out_dir / "talks"
        sets = {name: by_another_name(those, links) for name, those in found.items()}
        write_sets(
            RECIPE, sets, args.out_dir, args.num_jobs, args.max_bad_share, text_rule, args.channel
        )


if __name__ == "__main__":
    main()
