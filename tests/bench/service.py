"""What a first version of a log receiver usually is: a small web service that
appends each body to a file.  BENCH_FILE names it, BENCH_FSYNC=1 syncs it
before the answer.  It does not look at the body, which is to its advantage."""

import os

from fastapi import FastAPI, Request, Response

app = FastAPI()
fd = os.open(os.environ["BENCH_FILE"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
fsync = os.environ.get("BENCH_FSYNC") == "1"


@app.post("/log")
async def log(request: Request):
    os.write(fd, await request.body() + b"\n")
    if fsync:
        os.fsync(fd)
    return Response(status_code=204)
