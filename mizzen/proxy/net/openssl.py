"""What OpenSSL can do and the `ssl` module does not offer, reached through ctypes on the library that `ssl` uses.

Only at configuration time. Every function raises Unsupported where the library cannot be reached (a static build).
"""

from __future__ import annotations

import ctypes
import ssl
from typing import Any

from mizzen.proxy.config.errors import Unsupported

SET_GROUPS_LIST = 92
VERIFY_PEER = 1
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p)
rejected = 0  # chains that OpenSSL would have refused, so far


def _take(ok: int, store: int) -> int:
    global rejected
    rejected += not ok
    return 1


_accept_any = _CALLBACK(_take)  # kept for the life of the process: OpenSSL calls it


def _library(field: str) -> Any:
    try:
        import _ssl

        library = ctypes.CDLL(_ssl.__file__)
        library.SSL_CTX_set_verify.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
        library.SSL_CTX_ctrl.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_char_p]
        library.SSL_CTX_ctrl.restype = ctypes.c_long
    except (AttributeError, OSError, ImportError) as error:
        raise Unsupported(field) from error
    return library


def _pointer(context: ssl.SSLContext) -> int:
    """The SSL_CTX of a context: the first member after the object's head (CPython's _ssl.c, PySSLContext)."""
    return ctypes.c_size_t.from_address(id(context) + object.__basicsize__).value


def accept_untrusted(context: ssl.SSLContext) -> None:
    """Ask for a peer certificate and take any, so that it can be looked at."""
    _library("trust_chain_verification ACCEPT_UNTRUSTED").SSL_CTX_set_verify(
        _pointer(context), VERIFY_PEER, _accept_any
    )


def set_groups(context: ssl.SSLContext, curves: list[str]) -> bool:
    """Allow only these key exchange groups; False when one of them is unknown."""
    names = ":".join(curves).encode()
    return bool(_library("tls_params.ecdh_curves").SSL_CTX_ctrl(_pointer(context), SET_GROUPS_LIST, 0, names) == 1)
