"""What makes a request one of gRPC, and its time limit.

Source: gRPC over HTTP/2, "Requests".
"""

from __future__ import annotations

from typing import Final

from mizzen.proxy.codec.headers import RequestHeaders

UNITS: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


def is_grpc(request: RequestHeaders) -> bool:
    kind = request.d.get("content-type")
    return kind is not None and kind.startswith("application/grpc") and (len(kind) == 16 or kind[16] in "+;")


def grpc_timeout(text: str | None) -> float | None:
    """A grpc-timeout header in seconds; None when it is absent or malformed."""
    if not text or text[-1] not in UNITS or not text[:-1].isdigit() or len(text) > 9:
        return None
    return int(text[:-1]) * UNITS[text[-1]]
