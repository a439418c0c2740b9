"""kubeconfig: contexts, credentials inline and in files, refusals by name."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from mizzen.api.errors import Unsupported, UsageError
from mizzen.kube import kubeconfig


def document(user: dict[str, Any], **cluster: Any) -> dict[str, Any]:
    return {
        "current-context": "one",
        "contexts": [
            {"name": "one", "context": {"cluster": "c", "user": "u", "namespace": "shop"}},
            {"name": "two", "context": {"cluster": "c", "user": "nobody"}},
        ],
        "clusters": [{"name": "c", "cluster": {"server": "https://10.0.0.1:6443/", **cluster}}],
        "users": [{"name": "u", "user": user}],
    }


def test_inline_data_and_namespace(tmp_path: Path) -> None:
    user = {"token": "t", "as": "jo", "as-groups": ["g1", "g2"]}
    text = yaml.safe_dump(document(user, **{"certificate-authority-data": base64.b64encode(b"CA").decode()}))
    (tmp_path / "config").write_text(text)
    config = kubeconfig.load(tmp_path / "config")
    assert (config.server, config.ca, config.token, config.namespace) == ("https://10.0.0.1:6443", b"CA", "t", "shop")
    assert config.impersonate == (
        ("Impersonate-User", "jo"),
        ("Impersonate-Group", "g1"),
        ("Impersonate-Group", "g2"),
    )


def test_files_are_relative_to_the_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "client.crt").write_bytes(b"CERT")
    (tmp_path / "client.key").write_bytes(b"KEY")
    (tmp_path / "token").write_text("one\n")
    user = {"client-certificate": "client.crt", "client-key": "client.key", "tokenFile": "token"}
    config = kubeconfig.parse(document(user), tmp_path, "config")
    assert (config.client_certificate, config.client_key, config.bearer()) == (b"CERT", b"KEY", "one")
    (tmp_path / "token").write_text("two\n")
    assert config.bearer() == "two"


@pytest.mark.parametrize("field", ["exec", "auth-provider"])
def test_credential_programs_are_refused_by_name(field: str, tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=rf"users\[u\]\.user\.{field}"):
        kubeconfig.parse(document({field: {"command": "x"}}), tmp_path, "config")


@pytest.mark.parametrize(("context", "message"), [("none", "contexts has no 'none'"), ("two", "users has no 'nobody'")])
def test_missing_names(context: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        kubeconfig.parse(document({}), tmp_path, "config", context)


def test_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        kubeconfig.load(tmp_path / "absent")
