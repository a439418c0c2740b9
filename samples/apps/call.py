"""Sends GET requests and prints what came back: counts by status and by a field of the answers, times, one sample."""

from __future__ import annotations

import argparse
import http.client
import json
import queue
import threading
import time
from collections import Counter
from typing import Any
from urllib.parse import urlsplit


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url")
    parser.add_argument("-n", "--count", type=int, default=1)
    parser.add_argument("-c", "--concurrency", type=int, default=1)
    parser.add_argument("-H", "--header", action="append", default=[], metavar="NAME: VALUE")
    parser.add_argument("--by", default="version", help="dotted path into the JSON answer to count by")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds for one answer")


def field(answer: Any, path: str) -> str:
    """The value at a dotted path of a JSON answer as text, "-" where there is none."""
    for part in path.split("."):
        answer = answer.get(part) if isinstance(answer, dict) else None
    return "-" if answer is None else str(answer)


def measure(url: str, count: int, concurrency: int, headers: dict[str, str], by: str, timeout: float) -> dict[str, Any]:
    """What count requests saw: {"statuses", "by", "errors", "seconds": {"p50", "p99", "max"}, "sample", "headers"}."""
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    todo: queue.SimpleQueue[None] = queue.SimpleQueue()
    for _ in range(count):
        todo.put(None)
    statuses: Counter[str] = Counter()
    values: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    times: list[float] = []
    last: dict[str, Any] = {}

    def work() -> None:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=timeout)
        while True:
            try:
                todo.get_nowait()
            except queue.Empty:
                break
            start = time.perf_counter()
            try:
                connection.request("GET", path, headers=headers)
                response = connection.getresponse()
                data = response.read()
            except (OSError, http.client.HTTPException) as error:
                errors[type(error).__name__] += 1
                connection.close()
                continue
            times.append(time.perf_counter() - start)
            statuses[str(response.status)] += 1
            try:
                answer = json.loads(data)
            except ValueError:
                answer = data.decode(errors="replace")
            values[field(answer, by)] += 1
            last["sample"], last["headers"] = answer, {k.lower(): v for k, v in response.getheaders()}
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    times.sort()
    seconds = {"p50": times[len(times) // 2], "p99": times[int(len(times) * 0.99)], "max": times[-1]} if times else {}
    return {"statuses": dict(statuses), "by": dict(values), "errors": dict(errors), "seconds": seconds, **last}


def main(options: argparse.Namespace) -> int:
    headers = dict(line.split(": ", 1) for line in options.header)
    result = measure(options.url, options.count, options.concurrency, headers, options.by, options.timeout)
    print(json.dumps(result))
    return 0
