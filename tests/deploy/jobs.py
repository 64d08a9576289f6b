""".gitlab-ci.yml as GitLab reads it: which jobs are in a pipeline, and what a
job does on a runner.  A checkout there is made with umask 0000, so anyone may
write to it; the job's home has seen no machine yet; what is in `id_tokens` and
variables of the type file comes as GitLab brings it.
"""

import fnmatch
import os
import pathlib
import re
import shutil
import subprocess

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]


class _Reference(list):
    pass


class _Loader(yaml.SafeLoader):
    pass


_Loader.add_constructor("!reference", lambda loader, node: _Reference(
    loader.construct_sequence(node)))


def merged(below, above):
    """`extends`: mappings are merged, all else is replaced."""
    if isinstance(below, dict) and isinstance(above, dict):
        return {**below, **{k: merged(below[k], v) if k in below else v
                            for k, v in above.items()}}
    return above


def matches(path, pattern):
    """As in `rules: changes`: ** is any number of folders."""
    if pattern.endswith("/**/*"):
        return path.startswith(pattern[:-4])
    return "/" not in path and fnmatch.fnmatch(path, pattern) \
        or path == pattern


def holds(expression, variables):
    """The value of a `rules: if`."""
    text = ""
    for word in re.findall(r'\$\w+|"[^"]*"|null|&&|\|\||==|!=|[()]',
                           expression):
        if word[0] == "$":
            text += repr(variables.get(word[1:])) + " "
        else:
            text += {"&&": "and", "||": "or", "null": "None"}.get(word, word) \
                + " "
    return bool(eval(text, {"__builtins__": {}}))


class Pipeline:
    def __init__(self, root=ROOT):
        self.root = pathlib.Path(root)
        self.file = yaml.load((self.root / ".gitlab-ci.yml").read_text(),
                              _Loader)
        self.names = [k for k, v in self.file.items()
                      if isinstance(v, dict) and not k.startswith(".")
                      and "script" in self.job(k)]

    def job(self, name):
        job = self.file[name]
        parents = job.get("extends", [])
        whole = {}
        for parent in [parents] if isinstance(parents, str) else parents:
            whole = merged(whole, self.job(parent))
        whole = merged(whole, {k: v for k, v in job.items() if k != "extends"})
        if "rules" in whole:
            whole["rules"] = self._rules(whole["rules"])
        return whole

    def _rules(self, rules):
        for rule in rules:
            if isinstance(rule, _Reference):
                yield from self._rules(self.file[rule[0]][rule[1]])
            else:
                yield rule

    def when(self, name, variables, changed=None):
        """When a job of a pipeline runs; None: it is not in it.  `changed` are
        the files of a push; without a push every change is true."""
        for rule in self.job(name).get("rules", [{}]):
            if "if" in rule and not holds(rule["if"], variables):
                continue
            if "changes" in rule and changed is not None and not any(
                    matches(f, p) for f in changed for p in rule["changes"]):
                continue
            when = rule.get("when", "on_success")
            return None if when == "never" else when
        return None

    def jobs(self, variables, changed=None):
        variables = {**self.file["variables"], "CI_DEFAULT_BRANCH": "main",
                     **variables}
        found = {n: self.when(n, variables, changed) for n in self.names}
        found = {n: w for n, w in found.items() if w}
        for name in found:
            for need in self.job(name).get("needs", []):
                need = {"job": need} if isinstance(need, str) else need
                assert need["job"] in found or need.get("optional"), (
                    f"GitLab refuses the pipeline: {name} needs {need['job']},"
                    " which is not in it")
        return found


PUSH = {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_BRANCH": "main"}
MERGE = {"CI_PIPELINE_SOURCE": "merge_request_event"}
CLOUD = {"YC_REGISTRY": "cr.yandex/x", "YC_TERRAFORM_KEY": "key"}


def own_home(directory, binds=()):
    """What a command begins with that has its ~/.ssh in `directory`: ssh asks
    for its user's home, not for HOME, hence a mount of the command's own.
    `binds`: further files of its own, where they are to be found."""
    ssh = pathlib.Path(directory) / ".ssh"
    theirs = pathlib.Path(os.path.expanduser("~root/.ssh"))
    for folder in (ssh, theirs):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    binds = {ssh: theirs, **dict(binds)}
    return ["unshare", "--mount", "sh", "-c", "".join(
        f"mount --bind '{f}' '{to}' && " for f, to in binds.items())
        + 'exec "$@"', "sh"]


class Runner:
    """Runs jobs of a checkout of the repository as it is, in `directory`."""

    def __init__(self, directory):
        self.checkout = pathlib.Path(directory) / "builds/logs/logbroker"
        self.home = pathlib.Path(directory) / "home"
        self.checkout.parent.mkdir(parents=True)
        subprocess.run(["git", "clone", "-q", str(ROOT), str(self.checkout)],
                       check=True)
        changes = subprocess.run(["git", "diff", "HEAD", "--binary"], cwd=ROOT,
                                 check=True, stdout=subprocess.PIPE).stdout
        subprocess.run(["git", "apply", "--allow-empty", "--whitespace=nowarn"],
                       cwd=self.checkout, check=True, input=changes)
        for new in subprocess.run(
                ["git", "ls-files", "--others", "--exclude-standard"], cwd=ROOT,
                check=True, stdout=subprocess.PIPE, text=True).stdout.split():
            (self.checkout / new).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / new, self.checkout / new)
        subprocess.run(["chmod", "-R", "a+w", str(self.checkout)], check=True)
        self.pipeline = Pipeline(self.checkout)

    def variables(self, name, given):
        job = self.pipeline.job(name)
        values = {
            "CI": "true", "GITLAB_CI": "true", "CI_PROJECT_DIR":
            str(self.checkout), "CI_COMMIT_BRANCH": "main", "CI_JOB_ID": "1",
            "CI_DEFAULT_BRANCH": "main", "CI_COMMIT_SHORT_SHA": "0123abcd",
            **self.pipeline.file["variables"], **job.get("variables", {}),
            **{k: f"token of the job for {v['aud']}"
               for k, v in job.get("id_tokens", {}).items()},
            **given}
        for _ in range(3):
            values = {k: re.sub(r"\$(\w+)", lambda m: values.get(m[1]) or "",
                                v) if isinstance(v, str) else v
                      for k, v in values.items()}
        return {k: v for k, v in values.items() if v is not None}

    def run(self, name, given=None, path=None, shell="bash", timeout=900,
            binds=()):
        """Returns exit status and output.  A variable that is None is not set;
        `path` comes before PATH."""
        job = self.pipeline.job(name)
        script = "set -eo pipefail\n" if shell == "bash" else "set -e\n"
        script += "\n".join(job.get("before_script", []) + job["script"])
        shutil.rmtree(self.home, ignore_errors=True)
        environment = {"PATH": (f"{path}:" if path else "")
                       + os.environ["PATH"], "HOME": "/root", "LC_ALL":
                       "C.UTF-8", **self.variables(name, given or {})}
        environment["ANSIBLE_SSH_CONTROL_PATH_DIR"] = str(self.home / "cp")
        for key in ("LOGBROKER_CHDB_DIR", "TMPDIR"):
            if key in os.environ:
                environment[key] = os.environ[key]
        p = subprocess.run(
            [*own_home(self.home, binds), shell, "-c", "umask 0\n" + script],
            cwd=self.checkout, env=environment, timeout=timeout,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True)
        for line in job.get("after_script", []):
            subprocess.run(["sh", "-c", line], cwd=self.checkout,
                           env=environment, check=True)
        return p.returncode, p.stdout
