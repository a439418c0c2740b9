"""The rules that lead a pod's traffic through its sidecar, as istio-iptables writes them.

`CaptureConfig` (what to capture) → `capture_rules` (an ordered, backend-neutral list) → `iptables_text` or
`nftables_text` → `apply` (runs iptables-restore or nft in a network namespace). `rules_for_pod` reads the
configuration off a pod.
Not here: the pod network itself (mizzen.cni), and Service addresses (the runtime).
"""

from mizzen.cni.rules.apply import apply, cleanup
from mizzen.cni.rules.config import CaptureConfig
from mizzen.cni.rules.iptables import iptables_text
from mizzen.cni.rules.nftables import nftables_text
from mizzen.cni.rules.pod import rules_for_pod
from mizzen.cni.rules.rule import Rule
from mizzen.cni.rules.tables import capture_rules

__all__ = [
    "CaptureConfig",
    "Rule",
    "apply",
    "capture_rules",
    "cleanup",
    "iptables_text",
    "nftables_text",
    "rules_for_pod",
]
