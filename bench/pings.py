"""How soon a server answers one client that asks now and then, from a process of its own.

    python -m bench.pings HOST PORT PATH TOKEN [EVERY_S] < /dev/null

Asks until standard input ends; then standard output is one JSON line with latencies in milliseconds, and the statuses.
"""

from __future__ import annotations

import json
import select
import statistics
import sys
import time
from collections import Counter
from http.client import HTTPConnection


def main() -> None:
    host, port, path, token = sys.argv[1:5]
    every_s = float(sys.argv[5]) if len(sys.argv) > 5 else 0.03
    connection = HTTPConnection(host, int(port), timeout=60)
    latencies: list[float] = []
    statuses: Counter[int] = Counter()
    # The pace of the clock, not of the answers: a server that stands still would otherwise be asked less.
    due = time.perf_counter()
    while not select.select([sys.stdin], [], [], max(0.0, due - time.perf_counter()))[0]:
        due += every_s
        began = time.perf_counter()
        connection.request("GET", path, headers={"Authorization": f"token {token}"})
        answer = connection.getresponse()
        answer.read()
        latencies.append(time.perf_counter() - began)
        statuses[answer.status] += 1
    cuts = statistics.quantiles(latencies, n=100)
    found = {"asked": len(latencies), "p50_ms": cuts[49] * 1000, "p99_ms": cuts[98] * 1000}
    print(json.dumps({**found, "max_ms": max(latencies) * 1000, "statuses": statuses}))


if __name__ == "__main__":
    main()
