"""What the pages of the documentation name: links, code, commands, options and keys."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Lines that are indented by four, as code is, after an empty line or at the start of a list's item.
INDENTED = re.compile(r"(?:(?<=\n\n)|(?<=^))((?: {4}.*\n(?:\n(?= {4}))*)+)", re.MULTILINE)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PROGRAM = re.compile(
    r"^(?:\./)?((?:scripts|local|recipes)/[\w/-]+\.(?:py|sh)|\w+\.py|prepare\.sh)$"
)
OPTION = re.compile(r"^(--[a-z][\w.-]*)")


@dataclass(frozen=True)
class Command:
    """A call of one of the programs here.

    Args:
        program: As it is written, ``scripts/decode.py``, or ``zipformer decode``.
        options: What follows it and begins with two dashes, without values.
    """

    program: str
    options: list[str]


@dataclass(frozen=True)
class Page:
    """A page in Markdown, taken apart."""

    path: Path

    @cached_property
    def text(self) -> str:
        """All of it."""
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def blocks(self) -> list[tuple[str, str]]:
        """Language (empty if it is not given) and text of every block of code."""
        found = FENCE.findall(self.text)
        rest = FENCE.sub("\n", self.text)
        return found + [("", textwrap.dedent(block)) for block in INDENTED.findall(rest)]

    @cached_property
    def prose(self) -> str:
        """What is not in a block of code."""
        return INDENTED.sub("\n", FENCE.sub("\n", self.text))

    @property
    def spans(self) -> list[str]:
        """Pieces of code inside of sentences."""
        return SPAN.findall(self.prose)

    @property
    def code(self) -> str:
        """All code, a piece on a line."""
        return "\n".join([*self.spans, *(block for _, block in self.blocks)])

    @property
    def links(self) -> list[str]:
        """Where it links to."""
        return LINK.findall(SPAN.sub("code", self.prose))

    @property
    def anchors(self) -> set[str]:
        """What a link may jump to: the headings, as GitHub names them."""
        headings = re.findall(r"^#+ (.+)$", FENCE.sub("", self.text), re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in headings}

    @property
    def commands(self) -> Iterator[Command]:
        """The calls in its code that have options."""
        for line in re.sub(r"\\\n\s*", " ", self.code).splitlines():
            words = re.sub(r"\s#.*", "", line).split()
            for i, word in enumerate(words):
                program = word if PROGRAM.match(word) else ""
                if i == 0 and word == "zipformer" and words[1:] and words[1][0].isalpha():
                    program = f"zipformer {words[1]}"
                found = [m[1] for w in words[i + 1 :] if (m := OPTION.match(w))]
                if program and found:
                    yield Command(program, found)
                    break


def expand(path: str) -> list[str]:
    """Writes out what a shell would: ``a/{b,c}.toml`` is ``a/b.toml`` and ``a/c.toml``."""
    parts = re.split(r"\{([^}]*)\}", path)
    choices = [part.split(",") if i % 2 else [part] for i, part in enumerate(parts)]
    return ["".join(words) for words in product(*choices)]


def pages() -> list[Page]:
    """README, CONTRIBUTING, the pages in docs/ and those of recipes."""
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")]
    return [Page(path) for path in sorted([*found, *ROOT.glob("recipes/*/README.md")])]
