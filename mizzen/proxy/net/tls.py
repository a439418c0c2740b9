"""TLS over any transport by ssl.MemoryBIO: a protocol towards the socket, a transport towards what speaks inside.

`ServerLayer` terminates, `ClientLayer` originates. What the handshake found is in `tls_info`. Reference cycles are cut in
`connection_lost`. Not here: contexts (tls_context.py). Rejected: asyncio's own TLS, which hides alerts and costs more.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable
from typing import Any, Final

from mizzen.proxy.net import openssl
from mizzen.proxy.net.connection import TlsInfo
from mizzen.proxy.net.der import DerError

VERIFY_NUMBER: Final = 268435581  # BoringSSL's CERTIFICATE_VERIFY_FAILED, as Envoy prints it
READ_SIZE: Final = 256 * 1024


def tls_error(text: str) -> str:
    return f"TLS_error:|{VERIFY_NUMBER}:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify cert failed: {text}:TLS_error_end"


def verify_text(error: ssl.SSLError) -> str:
    """The words of a failed chain check."""
    message = getattr(error, "verify_message", "") or str(error.reason)
    return f"X509_verify_cert: certificate verification error at depth 0: {message}"


def other_text(error: ssl.SSLError) -> str:
    return f"TLS_error:|{error.errno or 0}:SSL routines:OPENSSL_internal:{error.reason or error.strerror}:TLS_error_end"


class Layer:
    """What both sides share. States: handshake, open, closed."""

    __slots__ = (
        "closing",
        "eof_sent",
        "incoming",
        "inner",
        "obj",
        "open",
        "outgoing",
        "paused",
        "raw",
        "stats",
        "tls_info",
    )

    def __init__(self, context: ssl.SSLContext, server: bool, name: str | None, stats: Any) -> None:
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.obj: Any = context.wrap_bio(self.incoming, self.outgoing, server_side=server, server_hostname=name)
        self.raw: Any = None
        self.inner: Any = None
        self.open = False
        self.closing = False
        self.paused = False
        self.eof_sent = False
        self.stats = stats
        self.tls_info = TlsInfo()

    # --- the socket's side ---

    def data_received(self, data: bytes) -> None:
        if self.obj is None:
            return
        self.incoming.write(data)
        if self.open:
            self._read()
        else:
            self._handshake()

    def _read(self) -> None:
        obj = self.obj
        incoming = self.incoming
        try:
            while obj is not None and not self.paused:
                data = obj.read(READ_SIZE)
                if not data:
                    self._peer_closed()
                    return
                self.inner.data_received(data)
                obj = self.obj
                if not incoming.pending and obj is not None and not obj.pending():
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._peer_closed()
        except ssl.SSLError:
            self.abort()
            return
        if self.outgoing.pending and self.raw is not None:
            self.raw.write(self.outgoing.read())  # answers to key updates

    def _peer_closed(self) -> None:
        """The peer's close_notify."""
        if self.inner is not None and not self.closing and not self.inner.eof_received():
            self.close()

    def _handshake(self) -> None:
        rejected = openssl.rejected
        try:
            self.obj.do_handshake()
            if openssl.rejected != rejected:
                self.stats.fail_verify_error += 1
        except ssl.SSLWantReadError:
            self._flush()
            return
        except ssl.SSLCertVerificationError as error:
            self._flush()
            self.failed("fail_verify_error", tls_error(verify_text(error)))
            return
        except ssl.SSLError as error:
            self._flush()
            no_certificate = error.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE"
            self.failed("fail_verify_no_cert" if no_certificate else "connection_error", other_text(error))
            return
        self._flush()
        obj, info = self.obj, self.tls_info
        info.version, info.alpn = obj.version(), obj.selected_alpn_protocol()
        cipher = obj.cipher()
        info.cipher = cipher[0] if cipher else None
        info.peer_der = obj.getpeercert(True)
        try:
            problem = self.check(info)
        except DerError as error:
            problem = ("fail_verify_error", str(error))
        if problem is not None:
            self.failed(problem[0], tls_error(problem[1]))
            return
        self.open = True
        self.stats.handshake += 1
        if obj.session_reused:
            self.stats.session_reused += 1
        if info.peer_der is None:
            self.stats.no_certificate += 1
        self.established()
        if self.obj is not None and (self.incoming.pending or self.obj.pending()):
            self._read()

    def check(self, info: TlsInfo) -> tuple[str, str] | None:
        raise NotImplementedError

    def established(self) -> None:
        raise NotImplementedError

    def failed(self, statistic: str, text: str | None) -> None:
        raise NotImplementedError

    def _flush(self) -> None:
        if self.outgoing.pending and self.raw is not None:
            self.raw.write(self.outgoing.read())

    def eof_received(self) -> bool:
        if self.open and self.inner is not None:
            return bool(self.inner.eof_received())
        return False

    def connection_lost(self, error: BaseException | None) -> None:
        inner, self.inner = self.inner, None
        was_open = self.open
        self.open = False
        if inner is not None:
            inner.connection_lost(error)
        elif not was_open and not self.closing:
            self.failed("", None)
        self.obj = self.raw = None

    def pause_writing(self) -> None:
        if self.inner is not None:
            self.inner.pause_writing()

    def resume_writing(self) -> None:
        if self.inner is not None:
            self.inner.resume_writing()

    # --- the inner protocol's side: a transport ---

    def write(self, data: bytes) -> None:
        obj = self.obj
        if obj is None or self.closing or not data:
            return
        try:
            obj.write(data)
        except ssl.SSLError:
            self.abort()
            return
        self.raw.write(self.outgoing.read())

    def writelines(self, parts: list[bytes]) -> None:
        self.write(b"".join(parts))

    def pause_reading(self) -> None:
        if not self.paused and self.raw is not None:
            self.paused = True
            self.raw.pause_reading()

    def resume_reading(self) -> None:
        if self.paused and self.raw is not None:
            self.paused = False
            self.raw.resume_reading()
            if self.incoming.pending or self.obj.pending():
                self._read()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Half close: our close_notify; the peer may go on sending."""
        if self.obj is None or self.eof_sent:
            return
        self.eof_sent = True
        self._goodbye()

    def _goodbye(self) -> None:
        with contextlib.suppress(ssl.SSLError):
            self.obj.unwrap()
        self._flush()

    def is_closing(self) -> bool:
        return self.closing or self.raw is None or bool(self.raw.is_closing())

    def close(self) -> None:
        if self.closing or self.raw is None:
            return
        self.closing = True
        if self.open and not self.eof_sent:
            self._goodbye()
        self.raw.close()

    def abort(self) -> None:
        self.closing = True
        if self.raw is not None:
            self.raw.abort()

    def get_write_buffer_size(self) -> int:
        return int(self.raw.get_write_buffer_size()) if self.raw is not None else 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if self.raw is not None:
            self.raw.set_write_buffer_limits(high, low)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.raw.get_extra_info(name, default) if self.raw is not None else default

    def set_protocol(self, protocol: Any) -> None:
        self.inner = protocol


class ServerLayer(Layer):
    """Terminates TLS on an accepted connection; `ready(layer)` is called when the client may speak."""

    __slots__ = ("config", "on_failed", "ready")

    def __init__(
        self,
        config: Any,
        stats: Any,
        server_name: str,
        ready: Callable[[Any], None],
        on_failed: Callable[[str | None], None],
    ) -> None:
        context, local = config.pick(server_name)
        super().__init__(context, True, None, stats)
        self.config = config
        self.ready: Any = ready
        self.on_failed: Any = on_failed
        self.tls_info.local = local

    def start(self, raw: Any, data: bytes) -> None:
        """Take over an accepted transport and what was already read from it."""
        self.raw = raw
        raw.set_protocol(self)
        if data:
            self.data_received(data)

    def connection_made(self, transport: Any) -> None:
        self.raw = transport

    def check(self, info: TlsInfo) -> tuple[str, str] | None:
        config = self.config
        verifier = config.tls.verifier()
        if info.peer_der is None:
            return (
                ("fail_verify_no_cert", "peer did not return a certificate")
                if config.require_client_certificate
                else None
            )
        if verifier is None:
            return None
        if config.tls.verifier_is_trusting():
            problem = verifier.problem(info.peer_der, None)
            if problem is not None:
                self.stats.counter(problem[0])
            return None
        info.validated = verifier.trusted or bool(verifier.sans or verifier.hashes)
        return verifier.problem(info.peer_der, None)  # type: ignore[no-any-return]

    def established(self) -> None:
        ready, self.ready, self.on_failed = self.ready, None, None
        ready(self)

    def failed(self, statistic: str, text: str | None) -> None:
        if statistic:
            self.stats.counter(statistic)
        on_failed, self.on_failed, self.ready = self.on_failed, None, None
        self.closing = True
        if on_failed is not None:
            on_failed(text)
        if self.raw is not None:
            self.raw.close()


class ClientLayer(Layer):
    """Originates TLS on a connection that is being made; its outcome goes to the Attempt."""

    __slots__ = ("attempt", "names", "timer", "tls")

    def __init__(
        self, tls: Any, alpn: tuple[str, ...], name: str | None, names: tuple[str, ...] | None, attempt: Any, stats: Any
    ) -> None:
        super().__init__(tls.context(False, alpn), False, name, stats)
        self.attempt = attempt
        self.names = names
        self.tls = tls
        self.timer: Any = None
        self.tls_info.sni = name

    def connection_made(self, transport: Any) -> None:
        self.raw = self.attempt.transport = transport
        if self.attempt.done:
            transport.abort()
            return
        self._handshake()

    def check(self, info: TlsInfo) -> tuple[str, str] | None:
        verifier = self.tls.verifier()
        if verifier is None or info.peer_der is None:
            return None
        info.validated = True
        return verifier.problem(info.peer_der, self.names)  # type: ignore[no-any-return]

    def established(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        attempt, self.attempt = self.attempt, None
        self.inner = attempt.protocol
        if self.tls.locals:
            self.tls_info.local = self.tls.locals[0]
        if not attempt.established(self):
            self.inner = None
            self.abort()

    def failed(self, statistic: str, text: str | None) -> None:
        if statistic:
            self.stats.counter(statistic)
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self.closing = True
        attempt, self.attempt = self.attempt, None
        if attempt is not None:
            attempt.fail("remote connection failure", text)
        if self.raw is not None:
            self.raw.abort()
