"""What a codec says when the peer broke the protocol."""

from __future__ import annotations


class CodecError(Exception):
    """A message that must be refused. `details` is Envoy's response code detail, `status` what a client is told."""

    def __init__(self, details: str, status: int = 400) -> None:
        super().__init__(details)
        self.details = details
        self.status = status
