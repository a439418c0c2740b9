"""One target under atheris: python -m tests.fuzz TARGET [flags of libFuzzer] [corpus folder]."""

from __future__ import annotations

import sys
from typing import Any

import atheris

with atheris.instrument_imports(include=["mizzen.proxy", "mizzen.wire", "mizzen.istiod.rpc"]):
    from tests.fuzz.targets import TARGETS


def main(argv: list[str]) -> None:
    fuzzer: Any = atheris
    fuzzer.Setup([argv[0], *argv[2:]], TARGETS[argv[1]].run)
    fuzzer.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
