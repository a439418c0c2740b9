"""When an overload action or load shed point acts: its triggers, and how far each is pulled (0 to 1)."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable, Mapping
from typing import Any

from mizzen.proxy.config.errors import ConfigError

SATURATED = 1.0


class Trigger:
    """From where to where a pressure pulls an envoy.config.overload.v3.Trigger."""

    def __init__(self, config: Any, where: str) -> None:
        kind = config.WhichOneof("trigger_oneof")
        if kind is None:
            raise ConfigError(f"{where}: action not set for trigger {config.name}")
        if kind == "threshold":
            self.low = self.high = config.threshold.value
            return
        self.low, self.high = config.scaled.scaling_threshold, config.scaled.saturation_threshold
        if self.low >= self.high:
            raise ConfigError("scaling_threshold must be less than saturation_threshold")

    def pulled(self, pressure: float) -> float:
        if pressure >= self.high:
            return SATURATED
        return 0.0 if pressure <= self.low else (pressure - self.low) / (self.high - self.low)


def percent(share: float) -> int:
    """A share in single precision as Envoy keeps it: what is told beside its statistics is equal."""
    return int(single(single(share) * 100))


def single(value: float) -> float:
    return float(struct.unpack("f", struct.pack("f", value))[0])


class Point:
    """An action or load shed point: acts as far as the trigger that is pulled furthest."""

    def __init__(self, name: str, what: str, triggers: Iterable[Any], resources: Iterable[str], group: Any) -> None:
        self.name = name
        self.group = group
        self.value = 0.0
        self.triggers: dict[str, Trigger] = {}
        for trigger in triggers:
            if trigger.name in self.triggers:
                raise ConfigError(f"Duplicate trigger resource for {what} {name}")
            if trigger.name not in resources:
                raise ConfigError(f"Unknown trigger resource {trigger.name} for {what} {name}")
            self.triggers[trigger.name] = Trigger(trigger, f"{what} {name}")

    def update(self, pressures: Mapping[str, float]) -> None:
        told = [trigger.pulled(pressures[name]) for name, trigger in self.triggers.items() if name in pressures]
        self.value = max(told, default=0.0)
        self.group.scale_percent = percent(self.value)

    @property
    def saturated(self) -> bool:
        return self.value >= SATURATED

    def chance(self) -> bool:
        """Whether to act this time: the more often, the further it is pulled."""
        return self.value > 0 and random.random() < self.value

    def sheds(self) -> bool:
        """`chance` of a load shed point, which counts how often it acted."""
        if not self.chance():
            return False
        self.group.shed_load_count += 1
        return True
