"""What an agent is told about modules, and what it counts."""

from __future__ import annotations

from collections import Counter

import msgspec


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """From the agent's environment (WASM_…). insecure: hosts whose certificates are not verified, "*" = all of them."""

    insecure: frozenset[str] = frozenset()
    expiry_s: float = 24 * 3600.0
    purge_every_s: float = 3600.0
    request_timeout_s: float = 15.0
    attempts: int = 5
    most_bytes: int = 256 << 20

    def is_insecure(self, host: str) -> bool:
        """host: with the port, if one is named."""
        return "*" in self.insecure or host in self.insecure


class Counts:
    """Numbers under the names of Istio's agent, with their label: for its metrics."""

    def __init__(self) -> None:
        self.entries = 0
        self.by_label: Counter[str] = Counter()

    def lookup(self, hit: bool) -> None:
        self.by_label[f'wasm_cache_lookup_count{{hit="{str(hit).lower()}"}}'] += 1

    def fetch(self, result: str) -> None:
        """result: success, download_failure, manifest_failure, checksum_mismatched, fetch_failure."""
        self.by_label[f'wasm_remote_fetch_count{{result="{result}"}}'] += 1

    def conversion(self, result: str) -> None:
        """result: success, no_remote_load, unmarshal_failure, fetch_failure, miss_remote_fetch_hint."""
        self.by_label[f'wasm_config_conversion_count{{result="{result}"}}'] += 1

    def all(self) -> dict[str, float]:
        return {"wasm_cache_entries": self.entries, **self.by_label} if self.by_label else {}
