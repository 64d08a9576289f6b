"""What is tested, and how it was built: LB_BUILD names the build directory
(default: build), LB_NGINX the nginx to run."""

import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("LB_BUILD", ROOT / "build")).resolve()
NGINX = os.environ.get("LB_NGINX", "/usr/sbin/nginx")


def sanitized():
    cache = BUILD / "CMakeCache.txt"
    return cache.exists() and "LB_SANITIZE:BOOL=ON" in cache.read_text()


def module():
    path = BUILD / "ngx_http_logbroker_module.so"
    assert path.is_file(), f"{path} is missing: build first"
    return path


def find(name):
    for path in (BUILD / name, *BUILD.glob(f"*/{name}")):
        if path.is_file():
            return str(path)
    raise AssertionError(f"{name} is not in {BUILD}: build first")
