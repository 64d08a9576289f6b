#!/usr/bin/env python3
"""Checks how the tree is built: who includes and who calls whom, that every page
of the documentation is found, how long and how branched functions may be, and
the words of the glossary.

    tests/structure.py [--build DIR]   prints file:line, what, what to do
    tests/structure.py --worst         the worst of today beside the ceilings
    tests/structure.py --self-test     on made-up trees: each rule can fail

The rules are the tables below.  Exit status: 0 all is well, 1 something is not.
"""

import argparse
import collections
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]

# What the files of a folder may include, besides what is in it.  On the left, a
# folder stands for all below it that has no line of its own; on the right for
# all below it, with a slash behind it for its own files; a file is the one seam.
MAY_INCLUDE = {
    "event": [],
    "spool": [],
    "flusher": ["event", "spool", "flusher/clickhouse/clickhouse.h",
                "flusher/states/states.h"],
    "flusher/clickhouse": ["event", "spool", "flusher/"],
    "flusher/states": ["spool", "flusher/"],
    "ngx_logbroker_module": ["event", "spool"],
    "tools": ["event", "spool", "flusher"],
}

# How many files of a folder call each other in one circle: known, and to be
# dissolved.  This list shrinks; a folder that is not here has none.
KNOWN_CIRCLES = {
    "flusher/states": 3,
}

# Just above the worst of today; lower one when it has become better.
CEILINGS = {
    "lines of a function": 120,
    "branches of a function": 40,
    "nesting of a function": 4,
    "lines of a C file": 700,
    "lines of a test file": 700,
}
# ... but for these, until they are dealt with; --worst says which are over.
EXCEPTIONS = {
    ("lines of a function", "json_tpl.h json"): 220,  # one state machine
    ("branches of a function", "json_tpl.h json"): 50,
    ("lines of a function", "json_flat.c lb_json_flat"): 135,
    ("lines of a test file", "test_scanner.c"): 1360,
    ("lines of a test file", "test_deliver.c"): 1100,
    ("lines of a test file", "powercut.c"): 920,
}

# Words that mean something else here: (where, pattern, in code alone, what to
# do).
WORDS = [
    (["spool", "tools"], r"(?i)\bflush(?:es|ed|ing)?\b", False,
     "to flush is to send to ClickHouse; of a disk say sync or write"),
    (list(MAY_INCLUDE), r"\b(?!ngx_|curl_)(?:\w+_)?(?:head|tail)s?(?:_\w+)?\b",
     True, "say what it is: a header, the begin, the end, the oldest"),
]

Problem = collections.namedtuple("Problem", "path line text")


def sources(root, *suffixes):
    """The project's own C files, by path from the root."""
    return sorted(p.relative_to(root) for folder in MAY_INCLUDE
                  if "/" not in folder for p in (root / folder).rglob("*")
                  if p.suffix in suffixes and p.is_file())


# C


def strip(text, literals=True):
    """Without comments and, if literals, strings; lines stay where they are."""
    def blank(m):
        s = m.group(0)
        if s[0] in "\"'" and not literals:
            return s
        return s[0] + "\n" * s.count("\n") + s[0] if s[0] in "\"'" \
            else " " + "\n" * s.count("\n")

    return re.sub(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'",
                  blank, text, flags=re.S)


def without_directives(text):
    """Preprocessor lines, with their continuations, made empty."""
    out = []
    more = False
    for line in text.split("\n"):
        directive = more or line.lstrip().startswith("#")
        more = directive and line.endswith("\\")
        out.append("" if directive else line)
    return "\n".join(out)


TOKEN = re.compile(r"[A-Za-z_]\w*|\d[\w.]*|&&|\|\||[^\s\w]|\n")
Function = collections.namedtuple("Function", "name line lines branches nesting")


def functions(text):
    """Every function that is defined in a C file."""
    found = []
    line, depth, parens = 1, 0, 0
    name = previous = None   # the last identifier before a parenthesis
    closed = False           # only words since a parenthesis closed
    argument = None          # the last identifier within the parentheses
    inside = None
    for token in TOKEN.findall(without_directives(strip(text))):
        if token == "\n":
            line += 1
            continue
        if inside:
            if token in ("if", "for", "while", "case", "&&", "||", "?"):
                inside["branches"] += 1
            elif token == "{":
                depth += 1
                inside["nesting"] = max(inside["nesting"], depth - 1)
            elif token == "}":
                depth -= 1
                if depth == 0:
                    found.append(Function(inside["name"], inside["line"],
                                          line - inside["line"] + 1,
                                          inside["branches"] + 1,
                                          inside["nesting"]))
                    inside = None
            continue
        if token == "(":
            if parens == 0 and depth == 0:
                # LB_NAME(f)(void) defines f, or what the macro makes of it
                name = previous or (closed and argument) or name
            parens += 1
            argument = None
        elif token == ")":
            parens -= 1
            closed = parens == 0
        elif token == "{" and parens == 0:
            if depth == 0 and closed and name:
                inside = {"name": name[0], "line": name[1], "branches": 0,
                          "nesting": 0}
            depth += 1
        elif token == "}" and parens == 0:
            depth -= 1
        elif token in (";", "=", ",") and parens == 0:
            closed = False
        previous = (token, line) if re.match(r"[A-Za-z_]", token) else None
        argument = previous or argument
    return found


def measures(root):
    """(what, figure, path, line, name) of everything that has a ceiling."""
    for path in sources(root, ".c", ".h"):
        text = (root / path).read_text()
        yield "lines of a C file", text.count("\n"), path, 1, path.name
        for f in functions(text):
            yield "lines of a function", f.lines, path, f.line, f"{path.name} {f.name}"
            yield "branches of a function", f.branches, path, f.line, f"{path.name} {f.name}"
            yield "nesting of a function", f.nesting, path, f.line, f"{path.name} {f.name}"
    for path in sorted((root / "tests").glob("*/*.*")):
        if path.suffix in (".c", ".h", ".py") and \
                path.resolve() == path.absolute():
            yield ("lines of a test file", path.read_text().count("\n"),
                   path.relative_to(root), 1, path.name)


def ceilings(root, limits=CEILINGS, exceptions=EXCEPTIONS):
    for what, figure, path, line, name in measures(root):
        limit = exceptions.get((what, name), limits[what])
        if figure > limit:
            yield Problem(path, line, f"{name.split()[-1]}: {what}: {figure}, the "
                          f"ceiling is {limit}; split it where its parts have "
                          "names")


# includes


def includes(root):
    """{file: [(line, file it includes)]} of the project's own."""
    files = sources(root, ".c", ".h")
    known = set(files)
    by_name = collections.defaultdict(list)
    for f in files:
        by_name[f.name].append(f)
    graph = {}
    for f in files:
        graph[f] = []
        text = strip((root / f).read_text(), literals=False)
        for m in re.finditer(r'^[ \t]*#[ \t]*include[ \t]+[<"]([^>"]+)[>"]', text,
                             re.M):
            named = pathlib.Path(m[1])
            there = next((p for p in (f.parent / named, named)
                          if p in known), None)
            if there is None and len(by_name[named.name]) == 1 and \
                    by_name[named.name][0].as_posix().endswith(m[1]):
                there = by_name[named.name][0]
            if there is not None:
                graph[f].append((text.count("\n", 0, m.start()) + 1, there))
    return graph


def folder_of(path, table):
    """The nearest folder above it that the table knows."""
    for folder in path.parents:
        if folder.as_posix() in table:
            return folder.as_posix()
    return None


def below(path, folder):
    """folder as on the right of MAY_INCLUDE."""
    if folder.endswith("/"):
        return path.parent == pathlib.Path(folder)
    return path == pathlib.Path(folder) or pathlib.Path(folder) in path.parents


def include_rules(root, table=MAY_INCLUDE):
    for path, named in includes(root).items():
        own = folder_of(path, table)
        for line, other in named:
            if folder_of(other, table) != own and \
                    not any(below(other, f) for f in table[own]):
                yield Problem(path, line, f"includes {other}, but {own}/ may "
                              f"include only {', '.join(table[own]) or 'itself'}"
                              "; move what both need down, or hand a callback in")


def components(graph):
    """Sets of more than one node that reach each other."""
    order, seen = [], set()

    def visit(node, edges, out):
        stack = [(node, iter(edges[node]))]
        seen.add(node)
        while stack:
            at, rest = stack[-1]
            for other in rest:
                if other not in seen:
                    seen.add(other)
                    stack.append((other, iter(edges[other])))
                    break
            else:
                stack.pop()
                out.append(at)

    back = {n: [] for n in graph}
    for n, named in graph.items():
        for other in named:
            back[other].append(n)
    for n in graph:
        if n not in seen:
            visit(n, graph, order)
    seen.clear()
    for n in reversed(order):
        if n not in seen:
            group = []
            visit(n, back, group)
            if len(group) > 1 or n in graph[n]:
                yield sorted(group)


def shortest(graph, group):
    """One circle within the group."""
    best = None
    for start in group:
        before = {start: None}
        ahead = collections.deque([start])
        while ahead:
            at = ahead.popleft()
            for other in graph[at]:
                if other == start:
                    around = []
                    while at is not None:
                        around.insert(0, at)
                        at = before[at]
                    if best is None or len(around) < len(best):
                        best = around
                    ahead.clear()
                    break
                if other in group and other not in before:
                    before[other] = at
                    ahead.append(other)
    return best


def include_circles(root):
    graph = includes(root)
    for group in components({f: [o for _, o in n] for f, n in graph.items()}):
        line, other = next(x for x in graph[group[0]] if x[1] in group)
        yield Problem(group[0], line, "an include circle: " + ", ".join(
            map(str, group)) + "; declare what they share in a header of its "
            "own, or by a forward declaration")


# calls


def objects(root, build):
    """{source: its newest object} of sources that there are."""
    found = {}
    for o in build.rglob("*.o"):
        path = o.relative_to(build).as_posix()
        m = re.match(r"(.*?)/?CMakeFiles/[^/]+\.dir/(.*)\.o$", path)
        source = (pathlib.Path(m[1]) / m[2] if m else
                  pathlib.Path(*o.parts[-2:]).with_suffix(".c"))
        if source.parts[0] in MAY_INCLUDE and (root / source).is_file() and (
                source not in found
                or found[source].stat().st_mtime < o.stat().st_mtime):
            found[source] = o
    return found


def symbols(objects):
    """{source: (functions it defines, symbols it uses)}"""
    table = {}
    for source, o in objects.items():
        defined, used = set(), set()
        for line in subprocess.run(
                ["nm", "-g", o], capture_output=True, text=True,
                check=True).stdout.splitlines():
            *_, kind, name = line.split()
            if kind == "T":
                defined.add(name)
            elif kind == "U":
                used.add(name)
        table[source] = defined, used
    return table


def call_circles(table, known):
    """Of the files of one folder."""
    for folder in sorted({s.parent for s in table}):
        files = [s for s in table if s.parent == folder]
        home = {name: s for s in files for name in table[s][0]}
        graph = {s: sorted({home[n] for n in table[s][1] if n in home} - {s})
                 for s in files}
        for group in components(graph):
            if len(group) <= known.get(folder.as_posix(), 0):
                continue
            around = shortest(graph, group)
            calls = "; ".join(
                f"{a.name} -> {b.name} ("
                + ", ".join(sorted(table[b][0] & table[a][1])[:3]) + ")"
                for a, b in zip(around, around[1:] + around[:1]))
            yield Problem(around[0], 1, f"{len(group)} files call each other in "
                          f"circles, as {calls}; the lower one is handed a "
                          "function, or a part of one moves")


def built(root, build):
    """Every source has an object, or what is said of calls is not true."""
    there = objects(root, build)
    for s in sources(root, ".c"):
        if s not in there:
            yield Problem(s, 1, f"has no object in {build}; build it first")


# pages and words


def pages(root):
    """Every page of docs/ is found from the README."""
    seen = set()
    ahead = [root / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in seen or not page.is_file():
            continue
        seen.add(page)
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
            if "://" not in target and target.endswith(".md"):
                ahead.append((page.parent / target).resolve())
    for page in sorted((root / "docs").rglob("*.md")):
        if page.resolve() not in seen:
            yield Problem(page.relative_to(root), 1, "no page that is reached from "
                          "README.md links to it; link it where its reader comes "
                          "by")


def words(root, rules=WORDS):
    for folders, pattern, code_alone, remedy in rules:
        for path in sources(root, ".c", ".h"):
            if not any(below(path, f) for f in folders):
                continue
            text = (root / path).read_text()
            if code_alone:
                text = strip(text)
            for number, line in enumerate(text.split("\n"), 1):
                for m in re.finditer(pattern, line):
                    yield Problem(path, number, f'"{m[0]}": {remedy}')


def shared_words(root):
    """A bit-field is written with all of its word: a thread and the event loop
    undo what the other one wrote."""
    for path in sources(root, ".c", ".h"):
        text = strip((root / path).read_text())
        for m in re.finditer(r"\bstruct(?:\s+\w+)?\s*\{([^{}]*)\}", text):
            field = re.search(r"\w+\s*:\s*\d+\s*;", m[1])
            if field and "ngx_thread_task_t" in m[1]:
                line = text.count("\n", 0, m.start(1) + field.start()) + 1
                yield Problem(path, line, f"{field[0]} beside a thread's task; "
                              "a variable of its own, ngx_uint_t")


def merges(root):
    """No file holds both sides of a conflict."""
    names = subprocess.run(["git", "grep", "--no-index", "--exclude-standard",
                            "-IlE", "^(<{7}|>{7}) ", "--", "."], cwd=root,
                           capture_output=True, text=True).stdout
    for name in names.splitlines():
        lines = (root / name).read_text().split("\n")
        number = next(n for n, line in enumerate(lines, 1)
                      if re.match("(<{7}|>{7}) ", line))
        yield Problem(name, number, "a conflict of a merge; keep what is right")


def check(root, build):
    yield from include_rules(root)
    yield from include_circles(root)
    yield from built(root, build)
    yield from call_circles(symbols(objects(root, build)), KNOWN_CIRCLES)
    yield from pages(root)
    yield from ceilings(root)
    yield from words(root)
    yield from shared_words(root)
    yield from merges(root)


def show_worst(root):
    worst = {}
    for what, figure, path, line, name in measures(root):
        worst.setdefault(what, []).append((figure, name, f"{path}:{line}"))
    for what, figures in worst.items():
        print(f"{what}: the ceiling is {CEILINGS[what]}")
        figures.sort(reverse=True)
        over = [f for f in figures if f[0] > CEILINGS[what]]
        for figure, name, where in figures[:len(over) + 5]:
            print(f"  {figure:5} {where} {name.split()[-1]}")
    needed = {(what, name): figure for what, figures in worst.items()
              for figure, name, _ in figures}
    for key, allowed in EXCEPTIONS.items():
        if needed.get(key, 0) <= CEILINGS[key[0]]:
            print(f"no longer an exception: {key}")
        elif needed[key] < allowed * 0.9:
            print(f"could be {needed[key]} instead of {allowed}: {key}")


# its own test


def self_test():
    """Each rule on a tree that keeps it, and on one that does not."""
    good = {
        "README.md": "[a](docs/a.md)", "docs/a.md": "[b](b.md#x)",
        "docs/b.md": "",
        "spool/low.h": "int low(void);\n",
        "spool/low.c": '#include "low.h"\n/* a head, not flushed */\n'.replace(
            "flushed", "synced")
        + "int\nlow(void)\n{\n    return 0;\n}\n",
        "spool/high.c": '#include "spool/low.h"\nint high(void)\n'
                        "{ return low(); }\n",
        "flusher/f.c": '#include "spool/low.h"\n'
                       "int f(int a) { return a && low(); }\n",
    }
    deep = "int f(int a)\n{\n" + "if (a) {\n" * 5 + "}\n" * 5 + "}\n"
    cases = {
        "spool includes flusher": ("include_rules", {
            "flusher/f.h": "", "spool/low.c": '#include "flusher/f.h"\n'},
            "spool/low.c:1: includes flusher/f.h"),
        "event includes spool": ("include_rules", {
            "event/e.c": '\n#include "spool/low.h"\n'},
            "event/e.c:2: includes spool/low.h"),
        "the module includes the flusher": ("include_rules", {
            "flusher/f.h": "",
            "ngx_logbroker_module/m.c": '#include <flusher/f.h>\n'},
            "ngx_logbroker_module/m.c:1: includes flusher/f.h"),
        "the flusher includes the module": ("include_rules", {
            "ngx_logbroker_module/m.h": "", "flusher/f.c": '#include "m.h"\n'},
            "flusher/f.c:1: includes ngx_logbroker_module/m.h"),
        "the flusher past its seam": ("include_rules", {
            "flusher/clickhouse/http.h": "",
            "flusher/f.c": '#include "flusher/clickhouse/http.h"\n'},
            "flusher/f.c:1: includes flusher/clickhouse/http.h"),
        "the flusher through its seam, and back": ("include_rules", {
            "flusher/sink.h": "",
            "flusher/clickhouse/clickhouse.h": '#include "flusher/sink.h"\n',
            "flusher/f.c": '#include "flusher/clickhouse/clickhouse.h"\n'}, None),
        "a state knows ClickHouse": ("include_rules", {
            "flusher/clickhouse/clickhouse.h": "", "flusher/states/s.c":
            '#include "flusher/clickhouse/clickhouse.h"\n'},
            "flusher/states/s.c:1: includes flusher/clickhouse/clickhouse.h"),
        "headers include each other": ("include_circles", {
            "spool/low.h": '#include "x.h"\n', "spool/x.h": '#include "low.h"\n'},
            "spool/low.h:1: an include circle: spool/low.h, spool/x.h"),
        "an include in a comment": ("include_rules", {
            "event/e.c": '/*\n#include "spool/low.h"\n*/\n'}, None),
        "files call each other": ("calls", {
            "spool/low.c": "int high(void);\nint low(void)\n{ return high(); }\n"},
            "spool/high.c:1: 2 files call each other in circles, as "
            "high.c -> low.c (low); low.c -> high.c (high)"),
        "a page that nobody links": ("pages", {"docs/c.md": ""},
                                     "docs/c.md:1: no page"),
        "a page linked from one that nobody links": ("pages", {
            "docs/c.md": "[d](d.md)", "docs/d.md": "[c](c.md)"},
            "docs/d.md:1: no page"),
        "a long function": ("ceilings", {
            "spool/low.c": "int f(void)\n{\n" + "    ;\n" * 200 + "}\n"},
            "spool/low.c:1: f: lines of a function: 203"),
        "many branches": ("ceilings", {
            "spool/low.c": "int f(int a)\n{\n    return a" + " || a && a ? 1 : 0"
            * 20 + ";\n}\n"},
            "spool/low.c:1: f: branches of a function: 61"),
        "branches in comments, strings and macros": ("ceilings", {
            "spool/low.c": "#define IF(a) \\\n" + "    if (a) ; \\\n" * 60
            + "    ;\nint f(void)\n{\n" + "    /* if (a) */ g(\"? || if\");\n" * 60
            + "}\n"}, None),
        "deep nesting": ("ceilings", {"spool/low.c": deep},
                         "spool/low.c:1: f: nesting of a function: 5"),
        "a function named by a macro": ("ceilings", {
            "event/e_tpl.h": "static int\nNAME(f)(int a)\n{\n" + "    ;\n" * 200
            + "}\n"}, "event/e_tpl.h:2: f: lines of a function: 203"),
        "a long file": ("ceilings", {"event/e.h": "\n" * 2000},
                        "event/e.h:1: e.h: lines of a C file: 2000"),
        "a long test": ("ceilings", {"tests/e2e/test_x.py": "\n" * 2000},
                        "tests/e2e/test_x.py:1: test_x.py: lines of a test file"),
        "flush of a disk": ("words", {"tools/t.c": "/* flushes it */\n"},
                            'tools/t.c:1: "flushes": to flush is'),
        "the flusher, and fflush": ("words", {
            "tools/t.c": "/* the flusher */ int f(void) { fflush(0); }\n"}, None),
        "a head": ("words", {"event/e.c": "\nint read_head(int tail);\n"},
                   'event/e.c:2: "tail": say what'),
        "nginx's own": ("words", {
            "ngx_logbroker_module/m.c": "ngx_queue_head(q); /* the head */\n"},
            None),
        "bits beside a thread": ("shared_words", {
            "ngx_logbroker_module/m.h":
            "struct a_s {\n    ngx_thread_task_t task;\n    unsigned done:1;\n};\n"},
            "ngx_logbroker_module/m.h:3: done:1;"),
        "bits alone": ("shared_words", {
            "ngx_logbroker_module/m.h":
            "struct a_s {\n    ngx_thread_task_t task;\n};\n"
            "struct b_s {\n    unsigned done:1;\n};\n"}, None),
        "half a merge": ("merges", {"list.txt": "a\n" + "<" * 7 + " HEAD\nb\n"},
                         "list.txt:2: a conflict"),
    }

    def run(changes, rule):
        with tempfile.TemporaryDirectory() as d:
            root = pathlib.Path(d).resolve()
            for name, text in {**good, **changes}.items():
                path = root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            limits = {**CEILINGS, "lines of a function": 100,
                      "branches of a function": 40, "nesting of a function": 4}
            if rule == "ceilings":
                found = ceilings(root, limits, {})
            elif rule == "calls":
                build = root / "build"
                for s in sources(root, ".c"):
                    o = build / s.parts[0] / "CMakeFiles/x.dir" / f"{s.name}.o"
                    o.parent.mkdir(parents=True, exist_ok=True)
                    subprocess.run(["cc", "-w", "-c", "-I", root, "-o", o,
                                    root / s], check=True)
                assert not list(built(root, build))
                found = call_circles(symbols(objects(root, build)), {})
            else:
                found = globals()[rule](root)
            return [f"{p.path}:{p.line}: {p.text}" for p in found]

    failed = 0
    for name, (rule, changes, expected) in {
            **{f"a good tree: {r}": (r, {}, None) for r in (
                "include_rules", "include_circles", "calls", "pages", "ceilings",
                "words", "shared_words", "merges")}, **cases}.items():
        said = run(changes, rule)
        right = any(s.startswith(expected) for s in said) if expected \
            else not said
        failed += not right
        print(f"{'ok  ' if right else 'FAIL'}  {name}"
              + ("" if right else f": {said}"))
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=ROOT / "build", type=pathlib.Path)
    parser.add_argument("--worst", action="store_true")
    parser.add_argument("--self-test", action="store_true")
    options = parser.parse_args()
    if options.self_test:
        return 1 if self_test() else 0
    if options.worst:
        show_worst(ROOT)
        return 0
    problems = list(check(ROOT, options.build.resolve()))
    for p in problems:
        print(f"{p.path}:{p.line}: {p.text}")
    print(f"{len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
