"""A connection that says in JSON why a message was too long for it."""

from __future__ import annotations

import asyncio

from zipformer.serving.messages import TOO_LONG, error_message
from zipformer.serving.sockets import ServerConnection

LARGEST_MESSAGE = 2**22  # bytes: 65 s of floats at 16 kHz


class Connection(ServerConnection):
    """Of one client.

    A message is refused while it is being parsed, which is before anybody here sees it, and by
    then the socket writes nothing but the close frame. So the reason goes out just before that.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called once, when the client is there."""
        super().connection_made(transport)
        fail = self.protocol.fail

        def tell_and_fail(code: int, reason: str = "") -> None:
            if code == TOO_LONG:
                advice = f"send pieces of at most {LARGEST_MESSAGE} bytes"
                self.protocol.send_text(error_message(f"{reason}: {advice}").encode())
            fail(code, reason)

        self.protocol.fail = tell_and_fail  # type: ignore[method-assign]
