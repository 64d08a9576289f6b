#!/usr/bin/python3
"""How long a newcomer waits for the first log in the browser.

    tests/first_log.py ./quickstart.sh

Runs the command, opens the page of the logs in Chromium as soon as it is
there, waits until it shows a row, posts an event of its own and waits for
that one; when the command has said all it has to say, Ctrl-C.  Says how long
each took; 77 without Chromium.
tests/releases.sh does it on bare Debian releases.
"""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from env.chromium import CHROMIUM, Chromium  # noqa: E402

EDGE = int(os.environ.get("LOGBROKER_PORT", "8080"))
BROKERS = int(os.environ.get("LOGBROKER_BROKERS", "2"))
PAGE = f"http://localhost:{EDGE + BROKERS + 1}/logs"


def pass_on(lines, ended):
    """What the command says, to where this program's words go."""
    for line in lines:
        sys.stdout.buffer.write(line)
        sys.stdout.flush()
        if b"Ctrl-C" in line:
            ended.set()


def wait_for_page(command):
    while True:
        try:
            with urllib.request.urlopen(PAGE, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            assert command.poll() is None, "the command has ended"
            time.sleep(0.1)


def main():
    if CHROMIUM is None:
        print("tests/first_log.py: skipped: no chromium")
        return 77
    begun = time.monotonic()
    command = subprocess.Popen(sys.argv[1:], start_new_session=True,
                               stdout=subprocess.PIPE)
    all_said = threading.Event()
    words = threading.Thread(target=pass_on, args=(command.stdout, all_said))
    words.start()
    try:
        wait_for_page(command)
        page = time.monotonic()
        with tempfile.TemporaryDirectory() as d, Chromium(d) as browser:
            browser.open(PAGE)
            browser.evaluate("document.querySelector('#live').click()")
            browser.until("document.querySelector('#rows').children.length")
            first = time.monotonic()
            browser.until("live && live.stream && live.stream.readyState === 1")
            urllib.request.urlopen(f"http://localhost:{EDGE}/log",
                                   b'{"message":"the newcomer was here"}')
            posted = time.monotonic()
            browser.until("document.body.innerText.includes("
                          "'the newcomer was here')")
            own = time.monotonic()
        assert all_said.wait(60), "the command has more to say"
    finally:
        os.killpg(command.pid, signal.SIGINT)
        command.wait(120)
        words.join()
    print(f"the page is there after {page - begun:.0f} s, the first log seen "
          f"after {first - begun:.0f} s; an event of one's own "
          f"{own - posted:.1f} s after it was posted")
    return 0


if __name__ == "__main__":
    sys.exit(main())
