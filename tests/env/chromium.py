"""A browser as people use it: headless Chromium, told what to do by the DevTools
protocol over a pipe.  Skips the test where there is none."""

import base64
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import time

import pytest

CHROMIUM = shutil.which("chromium")


class Chromium:
    def __init__(self, directory):
        if CHROMIUM is None:
            pytest.skip("chromium is not installed")
        to_read, self.to = os.pipe()
        self.back, to_write = os.pipe()
        self.profile = pathlib.Path(directory) / "chromium"
        # it expects what it reads as 3 and what it writes as 4
        self.process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{to_read} 4>&{to_write}', "bash",
             CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu",
             "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
             f"--user-data-dir={self.profile}", "--remote-debugging-pipe",
             "about:blank"],
            pass_fds=(to_read, to_write), start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(to_write)
        self.number, self.rest, self.session = 0, b"", None
        self.events = []
        target = self.call("Target.createTarget", url="about:blank")
        self.session = self.call("Target.attachToTarget", flatten=True,
                                 targetId=target["targetId"])["sessionId"]
        self.call("Runtime.enable")
        self.call("Log.enable")
        self.call("Page.enable")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.to)
        os.close(self.back)
        shutil.rmtree(self.profile, ignore_errors=True)

    def call(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + 60
        while True:
            while b"\0" not in self.rest:
                assert select.select([self.back], [], [],
                                     end - time.monotonic())[0], method
                more = os.read(self.back, 1 << 20)
                assert more, "chromium has ended"
                self.rest += more
            one, self.rest = self.rest.split(b"\0", 1)
            answer = json.loads(one)
            if answer.get("id") == self.number:
                assert "error" not in answer, (method, answer)
                return answer["result"]
            self.events.append(answer)

    def open(self, url, width=1280, height=900, dark=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width,
                  height=height, deviceScaleFactor=1, mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme",
             "value": "dark" if dark else "light"}])
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def evaluate(self, script):
        r = self.call("Runtime.evaluate", expression=script,
                      returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in r, r
        return r["result"].get("value")

    def until(self, script, timeout=30):
        end = time.monotonic() + timeout
        while not (value := self.evaluate(script)):
            assert time.monotonic() < end, (script, self.text())
            time.sleep(0.1)
        return value

    def text(self, element="body"):
        return self.evaluate(
            f"document.querySelector({json.dumps(element)}).innerText")

    def point(self, element):
        """The mouse, at the middle of it."""
        x, y = self.evaluate(f"""(e => {{ e.scrollIntoView();
            const r = e.getBoundingClientRect();
            return [r.x + r.width / 2, r.y + r.height / 2] }})({element})""")
        for dx in (-5, 0):
            self.call("Input.dispatchMouseEvent", type="mouseMoved",
                      x=x + dx, y=y)

    def press(self, key, code=0):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key,
                      windowsVirtualKeyCode=code,
                      **({"text": "\r"} if key == "Enter" else {}))

    def errors(self):
        """What a page's script threw, and what its rules forbade."""
        return [e for e in self.events
                if e.get("method") == "Runtime.exceptionThrown"
                or (e.get("method") == "Log.entryAdded"
                    and e["params"]["entry"]["source"] != "network"
                    and e["params"]["entry"]["level"] == "error")]

    def screenshot(self, path, whole=True):
        shot = self.call("Page.captureScreenshot",
                         captureBeyondViewport=whole)
        pathlib.Path(path).write_bytes(base64.b64decode(shot["data"]))
