"""Each codec under random bytes: shortly by hypothesis, and for a bounded number of runs by atheris, led by coverage."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
RUNS = 20_000


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_what_is_near_them(name: str) -> None:
    target = TARGETS[name]
    for seed in target.seeds:
        target.run(seed)
        for at in range(len(seed)):
            target.run(seed[:at])
            target.run(seed[:at] + bytes((seed[at] ^ 0x80,)) + seed[at + 1 :])
            target.run(seed[:at] + seed[at + 1 :])

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.one_of(st.binary(max_size=64), st.sampled_from(target.seeds)), max_size=4).map(b"".join))
    @example(b"")
    def anything(data: bytes) -> None:
        target.run(data)

    anything()


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris has no package for this Python")
@pytest.mark.parametrize("name", TARGETS)
def test_led_by_coverage(name: str, tmp_path: Path) -> None:
    for number, seed in enumerate(TARGETS[name].seeds):
        (tmp_path / str(number)).write_bytes(seed)
    limits = [f"-runs={RUNS}", "-max_len=512", "-max_total_time=15", "-rss_limit_mb=512"]
    command = [sys.executable, "-m", "tests.fuzz", name, *limits]
    done = subprocess.run(
        [*command, f"-artifact_prefix={tmp_path}/", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "RUST_BACKTRACE": "0"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
