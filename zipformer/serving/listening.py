"""Where a server listens: the address in words, and why nobody can listen there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def explain(host: str, port: int) -> Iterator[None]:
    """Says why nobody can listen: it is taken, forbidden, or no port at all.

    Raises:
        ValueError: In place of what the system says.
    """
    try:
        yield
    except (OSError, OverflowError) as error:
        raise ValueError(f"cannot listen on {host}, port {port}: {error}") from error


def uri_of(address: tuple[str, int], tls: bool) -> str:
    """Where clients connect to, as in ``ws://127.0.0.1:6006``."""
    host, port = address
    return f"{'wss' if tls else 'ws'}://{f'[{host}]' if ':' in host else host}:{port}"
