"""Lays the plugins out for a container runtime: launchers in a bin directory, a network configuration beside them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from mizzen.cni.names import home_tag


def conflist(home: Path, subnet: str, *, mtu: int = 1500, kubeconfig: str = "", capture: bool = True) -> dict[str, Any]:
    """The network configuration list of a home: the bridge, the host's ports, then (capture) the sidecar rules."""
    common = {"tag": home_tag(home), "dataDir": str(home / "cni" / "ipam")}
    plugins: list[dict[str, Any]] = [
        {"type": "mizzen", "subnet": subnet, "mtu": mtu, **common},
        {
            **common,
            "type": "mizzen-portmap",
            "capabilities": {"portMappings": True},
            "dataDir": str(home / "cni" / "ports"),
        },
    ]
    if capture:
        istio = {"type": "mizzen-istio", "podsDir": str(home / "kubelet" / "pods")}
        plugins.append({**istio, "kubeconfig": kubeconfig} if kubeconfig else istio)
    return {"cniVersion": "1.0.0", "name": f"mizzen-{home_tag(home)}", "plugins": plugins}


def install(home: Path, subnet: str, *, mtu: int = 1500, kubeconfig: str = "", capture: bool = True) -> None:
    """Write HOME/cni/net.d/10-mizzen.conflist and HOME/cni/bin/{mizzen,mizzen-portmap,mizzen-istio}."""
    conf_dir, bin_dir = home / "cni" / "net.d", home / "cni" / "bin"
    conf_dir.mkdir(parents=True, exist_ok=True)
    bin_dir.mkdir(parents=True, exist_ok=True)
    conf = conflist(home, subnet, mtu=mtu, kubeconfig=kubeconfig, capture=capture)
    (conf_dir / "10-mizzen.conflist").write_text(json.dumps(conf, indent=2))
    # Arguments are none, the environment is the runtime's: whatever it holds must not change what Python imports.
    script = f"#!/bin/sh\nexec {sys.executable} -c 'import sys; from mizzen.cni.plugin import main; sys.exit(main())'\n"
    for name in ("mizzen", "mizzen-portmap", "mizzen-istio"):
        (bin_dir / name).write_text(script)
        (bin_dir / name).chmod(0o755)
