"""TLS contexts: certificates, trust and rules from Envoy's TLS protos, as ssl.SSLContexts made anew when a secret changes.

Takes CommonTlsContext and where its secrets come from; gives contexts, and `Verifier`s for what is checked after the handshake
(names, hashes). Private keys reach OpenSSL through memfd, never a disk. Not here: the byte streams (tls.py), SDS (xds/sds.py).
Source: envoy.extensions.transport_sockets.tls.v3.
"""

from __future__ import annotations

import hashlib
import os
import ssl
from collections.abc import Callable, Sequence
from typing import Any

from mizzen.proxy.accesslog.format import data_source_bytes
from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.config.matchers import string_matcher
from mizzen.proxy.net import openssl
from mizzen.proxy.net.der import Certificate, certificate

VERSIONS = {
    0: None,
    1: ssl.TLSVersion.TLSv1,
    2: ssl.TLSVersion.TLSv1_1,
    3: ssl.TLSVersion.TLSv1_2,
    4: ssl.TLSVersion.TLSv1_3,
}
NO_CHECK_TIME = 0x200000
SAN_LISTS = {1: "emails", 2: "dns", 3: "uris", 4: "ips"}


class Secret:
    """A certificate or a validation context, in place or yet to come by SDS. `version` goes up with each new value."""

    __slots__ = ("message", "name", "version", "watchers")

    def __init__(self, name: str = "", message: Any = None) -> None:
        self.name = name
        self.message = message
        self.version = 1 if message is not None else 0
        self.watchers: list[Callable[[], None]] = []

    def set(self, message: Any) -> None:
        self.message = message
        self.version += 1
        for watcher in list(self.watchers):
            watcher()


def memory_file(data: bytes) -> int:
    """A file descriptor with these contents that is in no file system."""
    descriptor = os.memfd_create("tls", os.MFD_CLOEXEC)
    os.write(descriptor, data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def load_chain(context: ssl.SSLContext, message: Any) -> Certificate:
    """Load a TlsCertificate into a context; the leaf's facts. Raises ConfigError."""
    chain = data_source_bytes(message.certificate_chain)
    key = data_source_bytes(message.private_key)
    password = data_source_bytes(message.password) if message.HasField("password") else None
    files = [memory_file(chain), memory_file(key)]
    try:
        context.load_cert_chain(
            f"/proc/self/fd/{files[0]}", f"/proc/self/fd/{files[1]}", password=password or (lambda: b"")
        )
    except (ssl.SSLError, OSError, ValueError) as error:
        name = message.certificate_chain.filename or "<inline>"
        raise ConfigError(f"Failed to load certificate chain or private key from {name}: {error}") from error
    finally:
        for descriptor in files:
            os.close(descriptor)
    return leaf_of(chain)


def leaf_of(pem: bytes) -> Certificate:
    text = pem.decode("ascii", "replace")
    start = text.find("-----BEGIN CERTIFICATE-----")
    end = text.find("-----END CERTIFICATE-----", start)
    if start < 0 or end < 0:
        raise ConfigError("Failed to load certificate chain: no certificate in it")
    return certificate(ssl.PEM_cert_to_DER_cert(text[start : end + len("-----END CERTIFICATE-----")] + "\n"))


def dns_match(pattern: str, name: str) -> bool:
    """Whether a certificate's DNS name, which may begin with a wildcard label, covers a host name."""
    pattern, name = pattern.lower(), name.lower()
    if pattern == name:
        return True
    if pattern.startswith("*."):
        label, _, rest = name.partition(".")
        return bool(label) and rest == pattern[2:]
    return False


def san_matcher(message: Any) -> Callable[[Certificate], bool]:
    """A predicate for a SubjectAltNameMatcher."""
    kind = message.san_type
    if kind not in SAN_LISTS:
        raise Unsupported(f"SubjectAltNameMatcher.san_type {kind}")
    attribute = SAN_LISTS[kind]
    exact = message.matcher.exact if message.matcher.WhichOneof("match_pattern") == "exact" else None
    if kind == 2 and exact is not None:
        return lambda cert: any(dns_match(name, exact) for name in cert.dns)
    test = string_matcher(message.matcher, "SubjectAltNameMatcher")
    return lambda cert: any(test(name) for name in getattr(cert, attribute))


def any_san(test: Callable[[str], bool], exact: str | None) -> Callable[[Certificate], bool]:
    """A predicate for a match_subject_alt_names entry: any name fits, or an exact one by a wildcard in the certificate."""
    return lambda cert: (
        any(map(test, cert.sans)) or (exact is not None and any(dns_match(name, exact) for name in cert.dns))
    )


class Verifier:
    """What a validation context demands of a peer's certificate beyond its chain."""

    __slots__ = ("hashes", "sans", "spki", "trusted")

    def __init__(self, message: Any, default: Any = None) -> None:
        messages = [each for each in (message, default) if each is not None]
        self.trusted = any(each.HasField("trusted_ca") or each.HasField("system_root_certs") for each in messages)
        self.sans: list[Callable[[Certificate], bool]] = []
        self.hashes: set[str] = set()
        self.spki: set[str] = set()
        for each in messages:
            self.sans += [san_matcher(matcher) for matcher in each.match_typed_subject_alt_names]
            for matcher in each.match_subject_alt_names:
                exact = matcher.exact if matcher.WhichOneof("match_pattern") == "exact" else None
                test = string_matcher(matcher, "match_subject_alt_names")
                self.sans.append(any_san(test, exact))
            self.hashes |= {text.replace(":", "").lower() for text in each.verify_certificate_hash}

    def problem(self, der: bytes, names: Sequence[str] | None) -> tuple[str, str] | None:
        """(statistic, text) of what is wrong with a peer; None when nothing is. `names` stand for the configured SANs when given."""
        cert = certificate(der)
        if names:
            if not any(dns_match(pattern, name) for pattern in cert.dns for name in names) and not any(
                name in cert.sans for name in names
            ):
                return (
                    "fail_verify_san",
                    f"verify SAN list, expected SANs: [{', '.join(names)}], certificate SANs: [{', '.join(cert.sans)}]",
                )
        elif self.sans and not any(test(cert) for test in self.sans):
            return "fail_verify_san", f"SAN matcher, certificate SANs are [{', '.join(cert.sans)}]"
        if self.hashes and hashlib.sha256(der).hexdigest() not in self.hashes:
            return "fail_verify_cert_hash", "certificate hash mismatch"
        return None


class TlsConfig:
    """A CommonTlsContext, ready to make contexts from whatever its secrets hold now."""

    def __init__(self, common: Any, secrets: Any, where: str) -> None:
        if common.HasField("key_log"):
            raise Unsupported(f"{where}.key_log")
        self.params = common.tls_params
        self.alpn: tuple[str, ...] = tuple(common.alpn_protocols)
        self.certificates = [Secret(message=message) for message in common.tls_certificates]
        self.certificates += [secrets.certificate(config) for config in common.tls_certificate_sds_secret_configs]
        self.default_validation: Any = None
        kind = common.WhichOneof("validation_context_type")
        self.validation: Secret | None = None
        if kind == "validation_context":
            self.validation = Secret(message=common.validation_context)
        elif kind == "validation_context_sds_secret_config":
            self.validation = secrets.validation(common.validation_context_sds_secret_config)
        elif kind == "combined_validation_context":
            combined = common.combined_validation_context
            self.default_validation = combined.default_validation_context
            self.validation = secrets.validation(combined.validation_context_sds_secret_config)
        self._contexts: dict[Any, ssl.SSLContext] = {}
        self._verifier: tuple[int, Verifier] | None = None
        self.locals: list[Certificate] = []

    def secrets(self) -> list[Secret]:
        return [*self.certificates, *([self.validation] if self.validation is not None else [])]

    @property
    def ready(self) -> bool:
        """Whether all secrets are there."""
        return all(secret.message is not None for secret in self.secrets())

    def verifier(self) -> Verifier | None:
        if self.validation is None or self.validation.message is None:
            return None
        if self._verifier is None or self._verifier[0] != self.validation.version:
            self._verifier = self.validation.version, Verifier(self.validation.message, self.default_validation)
        return self._verifier[1]

    def context(self, server: bool, alpn: tuple[str, ...], variant: int = 0) -> ssl.SSLContext:
        """The context for these ALPN protocols and the certificates of now. Raises ConfigError."""
        key = (alpn, variant, *(secret.version for secret in self.secrets()))
        found = self._contexts.get(key)
        if found is None:
            if len(self._contexts) > 32:
                self._contexts.clear()
            found = self._contexts[key] = self._make(server, alpn, variant)
        return found

    def _make(self, server: bool, alpn: tuple[str, ...], variant: int) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
        params = self.params
        context.minimum_version = VERSIONS[params.tls_minimum_protocol_version] or ssl.TLSVersion.TLSv1_2
        top = ssl.TLSVersion.TLSv1_3 if server else ssl.TLSVersion.TLSv1_2
        context.maximum_version = VERSIONS[params.tls_maximum_protocol_version] or top
        if params.signature_algorithms:
            raise Unsupported("tls_params.signature_algorithms")
        if params.cipher_suites:
            try:
                context.set_ciphers(":".join(cipher.strip("[]").replace("|", ":") for cipher in params.cipher_suites))
            except ssl.SSLError as error:
                raise ConfigError(f"Failed to initialize cipher suites {':'.join(params.cipher_suites)}") from error
        if params.ecdh_curves and not openssl.set_groups(context, list(params.ecdh_curves)):
            raise ConfigError(f"Failed to initialize ECDH curves {':'.join(params.ecdh_curves)}")
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if server:
            context.num_tickets = 1
        leaves = [
            load_chain(context, secret.message)
            for secret in self.certificates[variant : variant + 1]
            if secret.message is not None
        ]
        if leaves:
            while len(self.locals) <= variant:
                self.locals.append(leaves[0])
            self.locals[variant] = leaves[0]
        if self.validation is not None and self.validation.message is not None:
            for message in (self.default_validation, self.validation.message):
                if message is not None:
                    self._trust(context, message)
            if self.verifier_is_trusting():
                openssl.accept_untrusted(context)
            elif any(
                m is not None and (m.HasField("trusted_ca") or m.HasField("system_root_certs"))
                for m in (self.default_validation, self.validation.message)
            ):
                context.verify_mode = ssl.CERT_OPTIONAL if server else ssl.CERT_REQUIRED
            elif server and self.verifier() is not None and (self.verifier().hashes or self.verifier().sans):  # type: ignore[union-attr]
                openssl.accept_untrusted(context)
        return context

    def verifier_is_trusting(self) -> bool:
        """trust_chain_verification: ACCEPT_UNTRUSTED."""
        messages = (self.default_validation, self.validation.message if self.validation is not None else None)
        return any(message is not None and message.trust_chain_verification == 1 for message in messages)

    @staticmethod
    def _trust(context: ssl.SSLContext, message: Any) -> None:
        if message.HasField("system_root_certs"):
            context.load_default_certs()
        if message.HasField("trusted_ca"):
            data = data_source_bytes(message.trusted_ca)
            try:
                context.load_verify_locations(cadata=data.decode("ascii", "replace"))
            except ssl.SSLError as error:
                raise ConfigError(
                    f"Failed to load trusted CA certificates from {message.trusted_ca.filename or '<inline>'}"
                ) from error
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if message.HasField("crl"):
            descriptor = memory_file(data_source_bytes(message.crl))
            try:
                context.load_verify_locations(cafile=f"/proc/self/fd/{descriptor}")
            except ssl.SSLError as error:
                raise ConfigError(f"Failed to load CRL from {message.crl.filename or '<inline>'}") from error
            finally:
                os.close(descriptor)
            context.verify_flags |= (
                ssl.VERIFY_CRL_CHECK_LEAF if message.only_verify_leaf_cert_crl else ssl.VERIFY_CRL_CHECK_CHAIN
            )
        if message.allow_expired_certificate:
            context.verify_flags |= NO_CHECK_TIME
