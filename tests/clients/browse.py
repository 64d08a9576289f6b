"""Opens a page in Chromium, headless, until its script says that it is done."""

import http.server
import os
import subprocess
import sys
import tempfile
import threading

done = threading.Event()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        done_now = self.path == "/done"
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        if self.path == "/":
            with open("page.html") as file:
                page = file.read()
            for name in "FIRST", "COUNT":
                page = page.replace(name, os.environ[name], 1)
            self.wfile.write(page.encode())
        if done_now:
            done.set()

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
    browser = subprocess.Popen(
        ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu",
         "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
         f"--user-data-dir={profile}",
         f"http://127.0.0.1:{server.server_address[1]}/"],
        env={**os.environ, "HOME": profile}, stderr=subprocess.DEVNULL)
    finished = done.wait(90)
    browser.terminate()
    try:
        browser.wait(20)
    except subprocess.TimeoutExpired:
        browser.kill()
sys.exit(0 if finished else 1)
