"""What is tested, and how it was built: LB_BUILD names the build directory
(default: build), LB_NGINX the nginx to run.  LB_MODULE is the module for one
from source, LB_TSAN the suppressions if both watch their threads."""

import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("LB_BUILD", ROOT / "build")).resolve()
NGINX = os.environ.get("LB_NGINX", "/usr/sbin/nginx")


def sanitized():
    cache = BUILD / "CMakeCache.txt"
    return cache.exists() and "LB_SANITIZE:BOOL=ON" in cache.read_text()


def sanitizers(reports):
    """The environment by which a sanitized build writes its reports there."""
    if "LB_TSAN" in os.environ:
        return {"TSAN_OPTIONS": f"log_path={reports}/tsan:die_after_fork=0:"
                                f"suppressions={os.environ['LB_TSAN']}"}
    if not sanitized():
        return {}
    return {"ASAN_OPTIONS": f"log_path={reports}/asan:detect_leaks=0:"
                            "abort_on_error=0",
            "UBSAN_OPTIONS": f"log_path={reports}/ubsan:print_stacktrace=1"}


def preloads(*libraries):
    """LD_PRELOAD of an nginx: a program that is not sanitized itself needs the
    sanitizer's library first."""
    asan = [subprocess.check_output(["gcc", "-print-file-name=libasan.so"],
                                    text=True).strip()] if sanitized() else []
    return ":".join(map(str, [*asan, *libraries]))


def library(source, directory):
    """A preloaded library of the tests, built from one file."""
    so = pathlib.Path(directory) / f"{pathlib.Path(source).stem}.so"
    if not so.exists():
        subprocess.run(["gcc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-O1",
                        "-o", so, ROOT / source, "-ldl"], check=True)
    return so


def module():
    path = pathlib.Path(os.environ.get("LB_MODULE")
                        or BUILD / "ngx_http_logbroker_module.so")
    assert path.is_file(), f"{path} is missing: build first"
    return path


def find(name):
    for path in (BUILD / name, *BUILD.glob(f"*/{name}")):
        if path.is_file():
            return str(path)
    raise AssertionError(f"{name} is not in {BUILD}: build first")
