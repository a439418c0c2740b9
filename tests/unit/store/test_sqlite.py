"""The SQLite store: revisions, compare-and-swap, compaction, and that nothing acknowledged is lost to a kill."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mizzen.api.errors import UsageError
from mizzen.runtime.store.base import Change, Compacted, Conflict
from mizzen.runtime.store.sqlite import SqliteStore


async def opened(path: Path) -> SqliteStore:
    store = SqliteStore(str(path))
    await store.open()
    await store.load()
    return store


async def test_writes_get_rising_revisions_and_conflicts_are_told(tmp_path: Path) -> None:
    store = await opened(tmp_path / "a.db")
    seen: list[Change] = []
    store.listen(seen.extend)
    first = await store.write("/a/x", b"1", 0)
    second = await store.write("/a/x", b"2", first)
    assert second == first + 1
    with pytest.raises(Conflict) as refused:
        await store.write("/a/x", b"3", first)
    assert refused.value.actual == second
    with pytest.raises(Conflict):
        await store.write("/a/x", b"3", 0)
    await store.write("/a/x", None, second)
    assert [(one.value, one.previous) for one in seen] == [(b"1", 0), (b"2", first), (None, second)]
    await store.close()


async def test_what_was_written_is_there_again(tmp_path: Path) -> None:
    store = await opened(tmp_path / "a.db")
    revisions = await asyncio.gather(*(store.write(f"/a/{number}", b"v", 0) for number in range(200)))
    await store.write("/a/7", None, revisions[7])
    await store.close()
    again = SqliteStore(str(tmp_path / "a.db"))
    await again.open()
    revision, records = await again.load()
    assert revision == 201
    assert len(records) == 199
    assert records == sorted(records)
    await again.close()


async def test_compaction_forgets_and_shrinks(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    store = await opened(path)
    revision = 0
    for _ in range(300):
        revision = await store.write("/a/x", os.urandom(4096), revision)
    gone = await store.write("/a/y", b"1", 0)
    await store.write("/a/y", None, gone)
    await store.compact(gone + 1)
    while store._compacted == 0:
        await asyncio.sleep(0.01)
    with pytest.raises(Compacted):
        await store.history(5)
    await store.close()
    assert path.stat().st_size < 200_000
    again = SqliteStore(str(path))
    await again.open()
    revision, records = await again.load()
    assert (revision, [one.key for one in records]) == (gone + 1, ["/a/x"])
    assert await again.write("/b", b"", 0) == gone + 2
    await again.close()


WRITER = """
import asyncio, sys
from mizzen.runtime.store.sqlite import SqliteStore
async def main():
    store = SqliteStore(sys.argv[1])
    await store.open(); await store.load()
    async def one(lane):
        number = 0
        while True:
            await store.write(f"/k/{lane}-{number}", b"v" * 100, 0)
            print(f"{lane}-{number}", flush=True)
            number += 1
    await asyncio.gather(*(one(lane) for lane in range(20)))
asyncio.run(main())
"""


def test_a_kill_in_mid_write_loses_nothing_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(2000)]
    process.send_signal(signal.SIGKILL)
    acknowledged = [line.strip() for line in lines + process.stdout.read().splitlines() if line.strip()]
    process.wait()
    process.stdout.close()
    keys = asyncio.run(_keys(path))
    assert [one for one in acknowledged if f"/k/{one}" not in keys] == []


async def _keys(path: Path) -> set[str]:
    store = SqliteStore(str(path))
    await store.open()
    _, records = await store.load()
    await store.close()
    return {record.key for record in records}


async def test_history_goes_on_from_any_kept_revision(tmp_path: Path) -> None:
    store = await opened(tmp_path / "a.db")
    first = await store.write("/a/x", b"1", 0)
    second = await store.write("/a/y", b"2", 0)
    third = await store.write("/a/x", None, first)
    told = [(change.revision, change.key, change.value, change.previous) for change in await store.history(first)]
    assert told == [(second, "/a/y", b"2", 0), (third, "/a/x", None, first)]
    assert await store.history(third) == []
    await store.close()


def _size(folder: Path) -> int:
    """Bytes of the store with its write-ahead log."""
    return sum(one.stat().st_size for one in folder.iterdir())


async def test_of_many_writers_with_one_expectation_one_wins(tmp_path: Path) -> None:
    store = await opened(tmp_path / "a.db")
    first = await store.write("/a/x", b"0", 0)
    writes = (store.write("/a/x", str(number).encode(), first) for number in range(50))
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(one) for one in results].count(Conflict) == 49
    assert [one for one in results if isinstance(one, int)] == [first + 1]
    await store.close()


async def test_the_file_does_not_grow_with_churn(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    store = await opened(path)
    revisions = [await store.write(f"/a/{number}", b"", 0) for number in range(20)]
    sizes = []
    for _ in range(6):
        for _ in range(10):
            writes = [store.write(f"/a/{at}", os.urandom(4096), one) for at, one in enumerate(revisions)]
            revisions = list(await asyncio.gather(*writes))
        await store.compact(revisions[-1])
        while store._compacted < revisions[-1]:
            await asyncio.sleep(0.01)
        sizes.append(_size(tmp_path))
    await store.close()
    assert path.stat().st_size < 300_000  # 80 kB are alive, 4.9 MB were written
    assert max(sizes) < 3_000_000


async def test_a_second_server_is_refused(tmp_path: Path) -> None:
    store = await opened(tmp_path / "a.db")
    with pytest.raises(UsageError, match="another API server"):
        await SqliteStore(str(tmp_path / "a.db")).open()
    await store.close()
