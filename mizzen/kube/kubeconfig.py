"""kubeconfig files: which server, which trust, which credentials.

Takes a file (or the in-cluster service account), gives a `KubeConfig` value and, from it, an SSL context. Credentials
that need a program or an identity provider (exec, auth-provider) are refused by name. Not here: any connection.
Source: client.authentication.k8s.io kubeconfig v1 (clusters, users, contexts, current-context).
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
from pathlib import Path
from typing import Any

import msgspec
import yaml

from mizzen.api.errors import Unsupported, UsageError

IN_CLUSTER = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class KubeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One context, resolved. PEM values are bytes; server is a http://, https:// or unix:// URL."""

    server: str
    ca: bytes | None = None
    insecure: bool = False
    tls_server_name: str | None = None
    client_certificate: bytes | None = None
    client_key: bytes | None = None
    token: str | None = None
    token_file: Path | None = None
    username: str | None = None
    password: str | None = None
    namespace: str = "default"
    impersonate: tuple[tuple[str, str], ...] = ()

    def ssl_context(self) -> ssl.SSLContext | None:
        """How to speak TLS with the server; None when the URL is not https."""
        if not self.server.startswith("https:"):
            return None
        context = ssl.create_default_context(cadata=self.ca.decode() if self.ca else None)
        if self.insecure:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if self.client_certificate:
            load_cert_chain(context, self.client_certificate, self.client_key or b"")
        return context

    def bearer(self) -> str | None:
        """The token to send now: a token file is read each time, for its content rotates."""
        if self.token_file is not None:
            return self.token_file.read_text().strip()
        return self.token


def load_cert_chain(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Give the context a certificate chain and key held in memory: ssl takes only paths, so they pass through a
    memfd.
    """
    fd = os.memfd_create("pem", os.MFD_CLOEXEC)
    try:
        os.write(fd, certificate.rstrip() + b"\n" + key)
        context.load_cert_chain(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def load(path: str | Path | None = None, context: str | None = None) -> KubeConfig:
    """The named context (the current one when None) of a kubeconfig.

    path: None means $KUBECONFIG (first file that exists), then ~/.kube/config, then the pod's service account.
    Raises UsageError for what is missing or malformed, Unsupported for exec and auth-provider credentials.
    """
    if path is None:
        path = _default_path()
        if path is None:
            return in_cluster()
    file = Path(path).expanduser()
    try:
        document = yaml.safe_load(file.read_text())
    except OSError as error:
        raise UsageError(f"kubeconfig {file}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"kubeconfig {file}: {error}") from error
    if not isinstance(document, dict):
        raise UsageError(f"kubeconfig {file}: not a mapping")
    return parse(document, file.parent, str(file), context)


def parse(document: dict[str, Any], base: Path, name: str, context: str | None = None) -> KubeConfig:
    """A kubeconfig document as a value. base: the folder that relative file names in it start from."""
    wanted = context or document.get("current-context")
    if not wanted:
        raise UsageError(f"kubeconfig {name}: no current-context")
    chosen = _named(document, "contexts", wanted, name)["context"]
    cluster = _named(document, "clusters", chosen.get("cluster"), name)["cluster"]
    user = _named(document, "users", chosen["user"], name).get("user") or {} if chosen.get("user") else {}
    for field in ("exec", "auth-provider"):
        if user.get(field):
            raise Unsupported(f"kubeconfig {name}: users[{chosen['user']}].user.{field}")
    if not cluster.get("server"):
        raise UsageError(f"kubeconfig {name}: clusters[{chosen['cluster']}].cluster.server is missing")
    if cluster.get("proxy-url"):
        raise Unsupported(f"kubeconfig {name}: clusters[{chosen['cluster']}].cluster.proxy-url")
    token_file = user.get("tokenFile")
    return KubeConfig(
        server=str(cluster["server"]).rstrip("/"),
        ca=_pem(cluster, "certificate-authority", base, name),
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
        tls_server_name=cluster.get("tls-server-name"),
        client_certificate=_pem(user, "client-certificate", base, name),
        client_key=_pem(user, "client-key", base, name),
        token=user.get("token"),
        token_file=base / token_file if token_file and not user.get("token") else None,
        username=user.get("username"),
        password=user.get("password"),
        namespace=chosen.get("namespace") or "default",
        impersonate=tuple(_impersonation(user)),
    )


def in_cluster() -> KubeConfig:
    """The service account of the pod that we run in. Raises UsageError outside of one."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (IN_CLUSTER / "token").exists():
        raise UsageError(
            "no kubeconfig: give --kubeconfig or set KUBECONFIG (and this is not a pod with a service account)"
        )
    return KubeConfig(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        ca=(IN_CLUSTER / "ca.crt").read_bytes(),
        token_file=IN_CLUSTER / "token",
        namespace=(IN_CLUSTER / "namespace").read_text().strip() or "default",
    )


def _default_path() -> Path | None:
    for candidate in (*filter(None, os.environ.get("KUBECONFIG", "").split(os.pathsep)), "~/.kube/config"):
        if Path(candidate).expanduser().exists():
            return Path(candidate).expanduser()
    return None


def _named(document: dict[str, Any], section: str, wanted: str | None, name: str) -> dict[str, Any]:
    for entry in document.get(section) or ():
        if entry.get("name") == wanted:
            return dict(entry)
    raise UsageError(f"kubeconfig {name}: {section} has no {wanted!r}")


def _pem(entry: dict[str, Any], field: str, base: Path, name: str) -> bytes | None:
    """FIELD-data (base64) or the file that FIELD names."""
    try:
        if entry.get(f"{field}-data"):
            return base64.b64decode(entry[f"{field}-data"])
        if entry.get(field):
            return (base / str(entry[field])).read_bytes()
    except (OSError, binascii.Error) as error:
        raise UsageError(f"kubeconfig {name}: {field}: {error}") from error
    return None


def _impersonation(user: dict[str, Any]) -> list[tuple[str, str]]:
    headers = [("Impersonate-User", user["as"])] if user.get("as") else []
    headers += [("Impersonate-Uid", user["as-uid"])] if user.get("as-uid") else []
    return headers + [("Impersonate-Group", group) for group in user.get("as-groups") or ()]
