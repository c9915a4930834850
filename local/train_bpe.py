"""Trains the token set: a sentencepiece model with ids 0 <blk>, 1 <sos/eos>, 2 <unk>."""

from __future__ import annotations

import argparse
import io
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import sentencepiece as spm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout as it is

from local.lib.errors import one_line_errors
from zipformer.data.manifests import read_cuts, text_of
from zipformer.files import replacing
from zipformer.progress import shown
from zipformer.tokens import SPECIAL_TOKENS, UNK_ID, open_tokenizer
from zipformer.tokens.pieces import WORD_START
from zipformer.tokens.scripts import is_unspaced, without_blanks

MANY = 50_000  # texts, from which sentencepiece learns long, and without a word


def train_bpe(texts: Iterable[str], vocab_size: int) -> tuple[bytes, int]:
    """Trains a model on texts.

    Args:
        texts: One transcript each; empty ones are left out.
        vocab_size: Tokens wanted, special ones included.

    Returns:
        The model, and its real size: less than wanted if the texts do not carry so many pieces.

    Raises:
        ValueError: If there is no text, or the texts have more characters than tokens are wanted.
    """
    lines = [text for text in shown(texts, "token set", 0, "texts read") if text.strip()]
    if not lines:
        raise ValueError("no text to train a token set on")
    if len(lines) > MANY:
        print(f"token set: of {len(lines)} texts, no news until it is there", file=sys.stderr)
    try:
        return _train(lines, vocab_size), vocab_size
    except RuntimeError as error:
        message = str(error)
    too_high = re.search(r"value <= (\d+)", message)
    if too_high:
        size = int(too_high.group(1))
        return _train(lines, size), size
    if "smaller than required_chars" in message or "vocab_size" in message:
        smallest = len({c for line in lines for c in line} | {" "}) + len(SPECIAL_TOKENS)
        raise ValueError(
            f"a vocabulary of {vocab_size} is too small: the text needs at least {smallest}, one "
            "for each of its characters and the special tokens"
        )
    raise ValueError(f"sentencepiece could not train a token set: {message}")


def _train(
    lines: list[str],
    vocab_size: int,
    model_type: str = "unigram",
    characters: bool = False,
    singles: Sequence[str] = (),
    required: str = "",
) -> bytes:
    """A model of so many tokens; with `characters` there may be fewer."""
    model = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type=model_type,
        user_defined_symbols=list(singles),  # each is one token wherever it stands
        required_chars=required,
        vocab_size=vocab_size,
        hard_vocab_limit=not characters,
        character_coverage=1.0,
        # Else every utterance of characters begins with a token that says nothing.
        add_dummy_prefix=not characters,
        control_symbols=list(SPECIAL_TOKENS[:UNK_ID]),
        unk_id=UNK_ID,
        bos_id=-1,
        eos_id=-1,
        input_sentence_size=100_000_000,
        num_threads=1,  # the same model every time
        minloglevel=2,
    )
    return model.getvalue()


def train_characters(texts: Iterable[str], word_pieces: int = 0) -> bytes:
    """A model whose tokens are the characters of texts, for scripts without blanks.

    Args:
        texts: One transcript each; blanks between Chinese or Japanese characters write nothing.
        word_pieces: Tokens for words of other scripts among them, at most; 0: single letters.

    Raises:
        ValueError: If there is no text.
    """
    lines = [without_blanks(text) for text in texts if text.strip()]
    if not lines:
        raise ValueError("no text to train a token set on")
    lines = [unicodedata.normalize("NFKC", line) for line in lines]  # as the model does
    characters = {c for line in lines for c in line} - {" "}
    singles = sorted(filter(is_unspaced, characters))
    mixed = word_pieces > len(characters) - len(singles) > 0
    if not mixed:
        size = len(characters) + len(SPECIAL_TOKENS) + 1
        return _train(lines, size, "char", characters=True)
    blanks = str.maketrans(dict.fromkeys(singles, " "))  # pieces are learned of the words alone
    words = [found for line in lines if (found := line.translate(blanks).strip())]
    size = len(singles) + word_pieces + len(SPECIAL_TOKENS) + 1
    # The mark is required though the text may have single words alone.
    return _train(words, size, characters=True, singles=singles, required=WORD_START)


def texts_of(cuts: list[Path], text: list[Path]) -> Iterator[str]:
    """Transcripts of manifests, and lines of text files."""
    for path in cuts:
        yield from (text_of(cut) for cut in read_cuts(path))
    for path in text:
        with open(path, encoding="utf-8") as file:
            yield from (line.strip() for line in file)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=Path, nargs="*", default=[], help="cuts manifests")
    parser.add_argument(
        "--text", type=Path, nargs="*", default=[], help="files, a transcript a line"
    )
    parser.add_argument("--vocab-size", type=int, default=500)
    parser.add_argument(
        "--characters", action="store_true", help="a token for each character (Chinese, Japanese)"
    )
    parser.add_argument(
        "--word-pieces",
        type=int,
        default=0,
        help="with --characters: tokens for words of other scripts among them, at most",
    )
    parser.add_argument(
        "--exact", action="store_true", help="it is an error if the text carries fewer tokens"
    )
    parser.add_argument("--out", type=Path, required=True, help="model to write, as in bpe.model")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with one_line_errors(args.out.parent):
        texts = texts_of(args.cuts, args.text)
        if args.characters:
            model, size = train_characters(texts, args.word_pieces), args.vocab_size
        else:
            model, size = train_bpe(texts, args.vocab_size)
        if size < args.vocab_size and args.exact:
            raise ValueError(
                f"the text carries no more than {size} tokens, but {args.vocab_size} were asked "
                f"for: run it again with --vocab-size {size} or less, or give more text"
            )
        if size < args.vocab_size:
            print(f"the text carries no more than {size} tokens; {args.vocab_size} were asked for")
        args.out.parent.mkdir(parents=True, exist_ok=True)
        with replacing(args.out) as temporary:
            temporary.write_bytes(model)
    tokens = open_tokenizer(args.out).tokens
    shown = " ".join(tokens[:40]) + (" ..." if len(tokens) > 40 else "")
    print(f"{args.out}: {len(tokens)} tokens: {shown}")


if __name__ == "__main__":
    main()
