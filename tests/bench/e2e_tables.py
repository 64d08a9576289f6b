"""The tables of e2e.py, as they stand in docs/performance.md and in README.md:
between markers, so that a run can be put in their place."""

import json
import pathlib
import statistics

from ways import BODIES, WAYS

ROOT = pathlib.Path(__file__).resolve().parents[2]
MARKS = "<!-- tests/bench/e2e.sh --docs: {} -->"
# a column of README's table: what it is called, its ways
README = {"logbroker, direct / `sync off`": ["direct", "direct-off"],
          "with an edge": ["edge"],
          "Fluent Bit, in memory / files": ["fluentbit", "fluentbit-file"],
          "FastAPI, in memory / synced": ["fastapi", "fastapi-fsync"],
          "OpenTelemetry Collector, in memory / synced":
          ["collector", "collector-file"], "VictoriaLogs": ["victorialogs"],
          "syslog-ng, in memory / file": ["syslog-ng", "syslog-ng-file"]}
# a row: its bodies, of which a way has one at most
README_ROWS = {
    "200-byte events, one a request": ["one event",
                                       "lines over TCP, one a write"],
    "100 a request": ["100 events", "lines over TCP, 100 a write"],
    "OTLP, 100 a request": ["OTLP, 100 events"]}


def median(runs, get):
    return statistics.median(get(r) for r in runs)


def row(name, runs):
    def part(*keys):
        if not set(keys) & set(runs[0]["cpu"]):
            return ""
        spent = median(runs,
                       lambda r: sum(r["cpu"].get(k, 0) for k in keys))
        return f"{spent:.2f}"
    sums = [r["sum"] for r in runs]
    cells = [part("edge"), part("broker", "agent"), part("flusher"),
             part("ClickHouse"), f"**{statistics.median(sums):.2f}**" + (
                 f" ({min(sums):.2f}–{max(sums):.2f})" if sums[1:] else ""),
             f"{median(runs, lambda r: r['answered']):,.0f}",
             f"{median(runs, lambda r: r['rows']):,.0f}",
             f"{median(runs, lambda r: r['memory']):.0f}"]
    return f"| {name} | " + " | ".join(cells) + " |"


def strange(name, body, runs):
    """Rows that are missing or too many though nothing was killed."""
    found = [r["missing"] for r in runs]
    # what was under way when wrk stopped is a row without an answer
    allowed = -64 * len(BODIES[body])
    lost = [f"{n:,}" for n in found if n > 0]
    doubled = [f"{-n:,}" for n in found if n < allowed]
    says = ([f"{', '.join(lost)} missing"] if lost else []) + \
        ([f"{', '.join(doubled)} too many"] if doubled else [])
    return [f"{WAYS[name].__doc__}, {body}: rows " + ", ".join(says)] \
        if says else []


def performance(results, about):
    rounds = about["rounds"]
    many = "Medians of {} rounds" if rounds > 1 else "{} round"
    out = [f"{many.format(rounds)} of {about['seconds']} s (of logbroker's "
           f"batches 1 s, as a ring takes 1 GB), {about['date']}, a "
           f"load of {about['load']:.1f} before.", "",
           "| | " + " | ".join(["edge", "broker or agent", "flusher",
                                "ClickHouse", "all", "answered events/s",
                                "rows/s", "memory, MB"]) + " |",
           "|---|" + "---|" * 8]
    oddities = []
    for body in BODIES:
        for name, way in WAYS.items():
            runs = results.get((name, body))
            if runs:
                out.append(row(f"{body}: {way.__doc__}", runs))
                oddities += strange(name, body, runs)
    out += ["", "| | fresh: p50, s | p99, s | killed: acknowledged | lost | "
            "doubled |", "|---|---|---|---|---|---|"]
    for name, way in WAYS.items():
        f, k = results.get((name, "fresh")), results.get((name, "killed"))
        if f and k:
            out.append(f"| {way.name()} | {f['p50']:.2f} | {f['p99']:.2f} | "
                       f"{k['acked']:,} | {k['lost']:,} | {k['doubled']:,} |")
    out += ["", "Without any kill: " + ("; ".join(oddities) or "nothing is "
            "missing or too many, from any way") + "."]
    out += ["", "Skipped: " + "; ".join(
        f"{k} ({v})" for k, v in about["skipped"].items()) + "."]
    return "\n".join(out) + "\n"


def readme(results, about):
    columns = {k: v for k, v in README.items()
               if any((name, "fresh") in results for name in v)}

    def line(what, cell):
        return f"| {what} | " + " | ".join(
            " / ".join(filter(None, map(cell, ways)))
            for ways in columns.values()) + " |"

    def cost(bodies):
        def cell(name):
            found = [results[name, b] for b in bodies if (name, b) in results]
            if not found:
                return ""
            spent = median(found[0], lambda r: r["sum"])
            return f"{spent:.1f}" if spent < 9.95 else f"{spent:.0f}"
        return cell

    def kept(name):
        k = results.get((name, "killed"))
        if not k:
            return ""
        return ", ".join(w for w in ("lost", "doubled") if k[w]) or "nothing"
    return "\n".join(
        ["| | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
        + [line(what, cost(bodies)) for what, bodies in README_ROWS.items()]
        + [line("lost or doubled by `kill -9`", kept)]) + "\n"


def save(directory, results, about):
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "table.md").write_text(performance(results, about))
    (directory / "readme.md").write_text(readme(results, about))
    (directory / "results.json").write_text(json.dumps(
        {"about": about,
         "results": {" / ".join(k): v for k, v in results.items()}}, indent=1))


def write_docs(directory):
    """The run of that directory into the documentation."""
    for page, table in (("docs/performance.md", "table.md"),
                        ("README.md", "readme.md")):
        begin, end = MARKS.format("begin"), MARKS.format("end")
        before, _, rest = (ROOT / page).read_text().partition(begin)
        _, found, after = rest.partition(end)
        assert found, f"{page} has no {begin} and {end}"
        (ROOT / page).write_text(
            f"{before}{begin}\n{(directory / table).read_text()}{end}{after}")
        print(f"{page}: {directory / table}")
