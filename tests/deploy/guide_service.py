#!/usr/bin/env python3
"""guide_service.py BUILD WORK: a broker and ClickHouse for guide.sh, until it
is told to end. WORK/service then has the URLs of the broker (in the place of the
edge), of ClickHouse and of the status, one a line."""

import os
import pathlib
import signal
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

build, work = sys.argv[1], pathlib.Path(sys.argv[2])
os.environ["LB_BUILD"] = build

from env.broker import FAST, Broker  # noqa: E402
from env.clickhouse import ClickHouse  # noqa: E402

# as the edge: who has no token is told so
UNKNOWN = 'if ($http_authorization !~ "^Bearer [0-9a-f]{64}$") { return 401; }'

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

with ClickHouse(work / "clickhouse") as clickhouse:
    broker = Broker(work / "broker", [clickhouse.url], user="logbroker",
                    password=clickhouse.password, workers=1, rings=2,
                    flusher=FAST, extra_location=UNKNOWN)
    try:
        broker.start()
        edge = f"http://127.0.0.1:{broker.port}"
        ready = work / "service.new"
        ready.write_text(f"{edge}\n{clickhouse.url}\n{edge}/status\n")
        ready.rename(work / "service")
        signal.pause()
    finally:
        broker.stop()
