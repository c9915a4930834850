"""Manifests of the CSJ, the Corpus of Spontaneous Japanese, read by lhotse session by session.

The layout is MORPH/SDB/{core,noncore}/SESSION.sdb, transcripts in Shift-JIS, beside
WAV/{core,noncore}/SESSION.wav; dialogues have SESSION-L.wav and SESSION-R.wav. Read as a whole,
lhotse wants every session of its test sets, and stops at the first that it cannot read. Here each
session is given to it alone, so that whatever is on the disk is taken and the rest is named.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lhotse import Recording, RecordingSet, SupervisionSegment, SupervisionSet
from lhotse.recipes.csj import _A01M0056, _EVAL, _VALID, concat_csj_supervisions, prepare_manifests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout as it is

from local.lib.corpus_command import corpus_command, corpus_parser
from local.lib.lhotse_corpus import Manifests, write_sets
from local.lib.set_manifests import NOT_FOR_USE
from local.lib.skipped import Skipped, Unusable
from zipformer.progress import shown

RECIPE = "csj"
SETS = ("train", "valid", "eval1", "eval2", "eval3")
NOT_TRAINED_ON = "excluded"  # other sessions of a speaker of eval2
SET_OF = {
    **dict.fromkeys(_VALID, "valid"),
    **{session: f"eval{i}" for i, those in enumerate(_EVAL, 1) for session in those},
    **dict.fromkeys(_A01M0056, NOT_TRAINED_ON),
}
ENCODINGS = ("utf-8", "shift_jis")  # in this order: Shift-JIS is hardly ever valid UTF-8
UNINTELLIGIBLE = "\u00d7"
PAUSE, LONGEST = 0.5, 10.0  # seconds: segments with shorter pauses are joined, up to this length


@dataclass
class Sessions:
    """What the sessions of a set hold."""

    recordings: list[Recording] = field(default_factory=list)
    supervisions: list[SupervisionSegment] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    @property
    def manifests(self) -> Manifests:
        """As lhotse's readers give them."""
        return {
            "recordings": RecordingSet.from_recordings(self.recordings),
            "supervisions": SupervisionSet.from_segments(self.supervisions),
        }


def read_transcript(path: Path) -> str:
    """The lines of an .sdb file.

    Raises:
        Unusable: If it is empty, or in no encoding that is known.
    """
    content = path.read_bytes()
    for encoding in ENCODINGS:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if text.strip():
            return "\n".join(line.rstrip("\r") for line in text.strip("\n").split("\n")) + "\n"
        raise Unusable("empty transcript")
    raise Unusable("transcript is neither Shift-JIS nor UTF-8")


def sides(session: str, text: str) -> Iterator[tuple[str, str]]:
    """Names of a session's recordings with their lines: two of a dialogue, else one."""
    if not session.startswith("D"):
        yield session, text
        return
    lines = text.splitlines(keepends=True)
    for side in "LR":
        yield f"{session}-{side}", "".join(line for line in lines if f"{side}:" in line)


def read_session(
    name: str, text: str, audio: Path
) -> tuple[list[Recording], list[SupervisionSegment]]:
    """What lhotse reads of one recording.

    Raises:
        Unusable: If it cannot.
    """
    if not audio.is_file():
        raise Unusable("no audio file")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "session" / name
        place.mkdir(parents=True)
        try:
            (place / f"{name}.sdb").write_text(text, encoding="shift_jis")
            (place / f"{name}-wav.list").write_text(str(audio.absolute()), encoding="utf-8")
            with contextlib.redirect_stderr(io.StringIO()):  # a progress bar for each session
                found = prepare_manifests(Path(folder), ["session"], num_jobs=1)["session"]
        except Exception as error:  # of no particular class, as lhotse's parser raises them
            detail = f"{audio}: {type(error).__name__}: {error}"
            raise Unusable("lhotse cannot read the session", detail) from None
    return list(found["recordings"]), list(found["supervisions"])


def read_sessions(corpus: Path) -> dict[str, Sessions]:
    """All sessions on the disk by set, in the order of their names; sets without any are left out.

    Raises:
        FileNotFoundError: If there is none to train on.
    """
    sets = {name: Sessions() for name in (*SETS, NOT_TRAINED_ON)}
    transcripts = sorted(corpus.glob("MORPH/SDB/*/*.sdb"), key=lambda path: path.name)
    for path in shown(transcripts, "CSJ", len(transcripts), "sessions"):
        of_set = sets[SET_OF.get(path.stem, "train")]
        try:
            for name, lines in sides(path.stem, read_transcript(path)):
                audio = corpus / "WAV" / path.parent.name / f"{name}.wav"
                _add(of_set, *read_session(name, lines, audio))
        except Unusable as fault:
            of_set.skipped.append(Skipped(path.stem, str(path), fault.reason, fault.detail))
    excluded = len(sets.pop(NOT_TRAINED_ON).recordings)
    if excluded:
        print(f"left out {excluded} recordings of a speaker of eval2, as is usual")
    if not sets["train"].recordings and not sets["train"].skipped:
        raise FileNotFoundError(f"{corpus}: no session to train on in MORPH/SDB")
    missing = [name for name, those in sets.items() if not (those.recordings or those.skipped)]
    if missing:
        print(f"not there: the sessions of {', '.join(missing)}")
    return {name: those for name, those in sets.items() if name not in missing}


def _add(sessions: Sessions, recordings: list[Recording], said: list[SupervisionSegment]) -> None:
    """Adds segments, joined where pauses are short; not those with words that nobody understood."""
    sessions.recordings.extend(recordings)
    sessions.skipped.extend(
        Skipped(s.id, s.recording_id, NOT_FOR_USE, "unintelligible words")
        for s in said
        if UNINTELLIGIBLE in s.custom["raw"]
    )
    joined = concat_csj_supervisions(SupervisionSet.from_segments(said), PAUSE, LONGEST)
    sessions.supervisions.extend(joined)


def text_rule(text: str) -> str:
    """A transcript without blanks."""
    return "".join(text.split())


def main() -> None:
    args = corpus_parser(__doc__, RECIPE).parse_args()
    with corpus_command(args, RECIPE) as corpus:
        found = read_sessions(corpus)
        write_sets(
            RECIPE,
            {name: sessions.manifests for name, sessions in found.items()},
            args.out_dir,
            args.num_jobs,
            args.max_bad_share,
            text_rule,
            args.channel,
            {name: sessions.skipped for name, sessions in found.items()},
        )


if __name__ == "__main__":
    main()
