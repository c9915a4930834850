"""Exports of the trained digits model, each made once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from trained_digits import trained

from zipformer.context import Context
from zipformer.export import Options, export_offline, export_streaming

INT8 = Context(32, 256, 64)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Context], Path]:
    """The folder of the export at a context, offline if that is full; not to be changed.

    That at ``INT8`` has files with 8-bit weights as well.
    """

    @cache
    def export(context: Context) -> Path:
        folder = tmp_path_factory.mktemp(f"export-{context.slug}")
        model, tokens = trained().model, trained().tokenizer.tokens
        options = Options(int8=context == INT8, scores=trained().tokenizer.scores)
        if context.is_full:
            export_offline(model, tokens, folder, options)
        else:
            export_streaming(model, tokens, context, folder, options)
        return folder

    return export
