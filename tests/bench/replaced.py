"""What a first version of a log receiver usually is: a web service that keeps
each body and sends them to ClickHouse once a second.  BENCH_CLICKHOUSE is the
INSERT's address, BENCH_FSYNC=1 writes a body to BENCH_FILE and syncs it before
the answer; the file is a witness, nothing reads it after a crash."""

import asyncio
import contextlib
import os
import urllib.request

from fastapi import FastAPI, Request, Response

app = FastAPI()
fd = None
if os.environ.get("BENCH_FSYNC") == "1":
    fd = os.open(os.environ["BENCH_FILE"],
                 os.O_WRONLY | os.O_CREAT | os.O_APPEND)
waiting = []


def send(data):
    urllib.request.urlopen(urllib.request.Request(
        os.environ["BENCH_CLICKHOUSE"], data), timeout=60).read()


async def flush():
    while True:
        await asyncio.sleep(1)
        bodies = waiting[:]
        if bodies:
            with contextlib.suppress(OSError):
                await asyncio.to_thread(send, b"".join(bodies))
                del waiting[:len(bodies)]


@app.on_event("startup")
async def begin():
    app.state.flush = asyncio.create_task(flush())


@app.post("/log")
async def log(request: Request):
    body = await request.body()
    if fd is not None:
        os.write(fd, body)
        os.fsync(fd)
    waiting.append(body)
    return Response(status_code=204)
