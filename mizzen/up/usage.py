"""What to type next: the lines that `mizzen up` and the demo end with."""

from __future__ import annotations

from mizzen.kube.client import Client
from mizzen.kube.resource import SERVICES
from mizzen.up.home import Home


def usage(home: Home, urls: list[str] | None = None) -> str:
    """How to look at a mesh. urls: where its gateways answer."""
    lines = [f"export KUBECONFIG={home.kubeconfig}", "kubectl get pods -A", "mizzen proxy-status"]
    return "\n".join(f"  {line}" for line in [*lines, *(f"curl {url}" for url in urls or ())])


async def urls(client: Client, host: str) -> list[str]:
    """The addresses on this machine of Services with node ports."""
    found = []
    for service in (await client.list(SERVICES)).items:
        for port in service["spec"].get("ports") or ():
            if port.get("nodePort") and port.get("protocol", "TCP") == "TCP":
                found.append(f"http://{host}:{port['nodePort']}/")
    return found
