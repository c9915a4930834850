"""The command line of a verb: argparse, and advice where it only says "unrecognized"."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence

from zipformer.commands.errors import show_warnings
from zipformer.config.reading import suggest


class VerbParser(ArgumentParser):
    """Reads the words after a verb.

    Args:
        prog: What the program is called in its help and its errors.
        description: Of the verb, shown as it is written.
    """

    def __init__(self, prog: str, description: str | None) -> None:
        super().__init__(
            prog=prog, description=description, formatter_class=RawDescriptionHelpFormatter
        )

    def read(self, argv: Sequence[str]) -> Namespace:
        """The options as typed; a mistake ends the program with usage, one line and status 2.

        An unknown option is named before anything else that is wrong, as it is most likely the
        cause: argparse would only say that the one it was meant for is missing.
        """
        known = list(self._option_string_actions)
        for word in argv:
            if word == "--":
                break
            if not looks_like_option(word):
                continue
            name = word.partition("=")[0]
            if not any(option.startswith(name) for option in known):
                self.error(f"{name}: unknown option{suggest(name, known)}")
        return self.parse_args(argv)


def read_arguments(
    argv: Sequence[str],
    prog: str,
    description: str | None,
    add_arguments: Callable[[VerbParser], None],
) -> Namespace:
    """The options of a verb as typed; warnings are lines on stderr from here on.

    Args:
        argv: The words after the verb.
        prog: What the program is called in its help and its errors.
        description: Of the verb, for its help.
        add_arguments: Says what the verb can be asked for.
    """
    parser = VerbParser(prog, description)
    add_arguments(parser)
    args = parser.read(argv)
    show_warnings()
    return args


def looks_like_option(word: str) -> bool:
    """Whether argparse takes a word for an option: not for a value, as -1 or a name with blanks."""
    return word[:1] == "-" and len(word) > 1 and word[1] not in "0123456789." and " " not in word
