"""`perf/run`: its flags, the order of things, and where the results go."""

import argparse
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from statistics import median

from . import aims, contenders, plots, rounds, scaling, scenarios, table
from .stick import Fault, Stick, certificate

HOME = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = "ollama-openai-proxy"
# Two descriptors a stream in a proxy, and room for the process itself. What more streams need is asked for and not
# required: the largest number follows what there is.
DESCRIPTORS = 2 * 5000 + 500
DESCRIPTORS_WANTED = 2 * 10_000 + 500


def flags(descriptors):
    keys = [scenario.key for scenario in scenarios.all_scenarios(scenarios.FULL, True, True, "strace")]
    parser = argparse.ArgumentParser(
        prog="perf/run",
        description="Measures direct calls, nginx, this proxy and two Python programs, interleaved, round by round. "
        "Method: perf/README.md.",
    )
    parser.add_argument("--quick", action="store_true", help="one short round, under 60 s: a look, no figure")
    parser.add_argument(
        "--binary", action="append", default=[], metavar="[LABEL=]PATH",
        help="a build to measure, more than once for several; default: the release build for the musl target",
    )
    parser.add_argument(
        "--scaling", action="store_true",
        help="how cost grows from one stream to 10,000, and what a second processor adds; under 15 minutes",
    )
    parser.add_argument("--rounds", type=int, help=f"default 5, quick 1, scaling {scaling.ROUNDS}")
    parser.add_argument("--only", metavar="SCENARIO,...", help="only these: " + ", ".join(keys))
    parser.add_argument(
        "--out", metavar="FILE|-",
        help="where the table is kept; - for the screen only, as with --quick and --only; "
        "default perf/results/VERSION-MACHINE.md",
    )
    given = parser.parse_args()
    if given.quick and given.scaling:
        parser.error("--quick and --scaling: one of them")
    keys += [scenario.key for scenario in scaling.plan(scaling.counts(descriptors), "perf", ())] if given.scaling else []
    unknown = [key for key in (given.only or "").split(",") if key and key not in keys]
    if unknown:
        parser.error(f"--only: {unknown[0]}: expected one of {', '.join(keys)}")
    return given


def main():
    descriptors = raise_descriptors()
    given = flags(descriptors)
    started = time.monotonic()
    try:
        report, charts, name = run(given, descriptors)
    except Fault as fault:
        print(f"\nperf/run: {fault}\nperf/run: an error: no figure is printed", file=sys.stderr)
        return 1
    print(report)
    print(f"{time.monotonic() - started:.0f} s", file=sys.stderr)
    is_partial = given.quick or given.only
    if given.out == "-" or (is_partial and not given.out):
        return 0
    keep(given.out or os.path.join(HOME, "perf", "results", name + ".md"), report, charts)
    return 0


def run(given, descriptors):
    if descriptors < DESCRIPTORS:
        raise Fault(f"ulimit -n: {DESCRIPTORS} descriptors are needed, the hard limit is {descriptors}")
    binaries = [binary(value) for value in given.binary] or [default_binary()]
    programs = build()
    load_average = open("/proc/loadavg", encoding="ascii").read().split()[:3]
    work = tempfile.mkdtemp(prefix="perf-run-")
    stick = Stick(programs, work)
    try:
        if given.scaling:
            return run_scaling(given, stick, binaries, descriptors, load_average)
        cert = certificate(work)
        stick.start_backend(cert)
        runners, skipped = choose(stick, binaries, cert, given.quick)
        plan = scenarios.QUICK if given.quick else scenarios.full(scaling.counts(descriptors)[-1])
        strace = None if given.quick else find_strace(skipped)
        chosen = scenarios.all_scenarios(plan, bool(cert), stick.is_pinned, strace)
        if given.quick:
            chosen = scenarios.for_quick(chosen)
        if given.only:
            chosen = [scenario for scenario in chosen if scenario.key in given.only.split(",")]
        count = given.rounds or (1 if given.quick else 5)
        figures = rounds.measure(stick, runners, chosen, count)
        if not cert:
            skipped.append("TLS: openssl is missing, so there is no certificate")
        header, name = heading(given, stick, count, load_average)
        builds = [label for label, _ in binaries]
        # A quick look has fewer streams and requests than the aims speak of.
        judged = [] if given.quick else aims.rows(figures, builds, plan.memory[-1], count)
        report = page(header, figures, chosen, runners, skipped, judged)
        return report, draw(figures, runners, plan), name
    finally:
        stick.stop_all()
        shutil.rmtree(work, ignore_errors=True)


def run_scaling(given, stick, binaries, descriptors, load_average):
    stick.start_backend(None)
    nginx = contenders.find_program("nginx", "nginx-light", True)
    streams, count = scaling.counts(descriptors), given.rounds or scaling.ROUNDS
    only = given.only.split(",") if given.only else None
    figures, one, two, skipped, chosen = scaling.measure(stick, nginx, binaries, streams, count, only)
    if streams[-1] < scaling.COUNTS[-1]:
        skipped.append(f"{scaling.COUNTS[-1]:,} streams: a process may open {descriptors:,} files (`ulimit -Hn`)")
    header, name = heading(given, stick, count, load_average)
    report = scaling.page(header, figures, one, two, streams, skipped, chosen)
    return report, scaling.draw(figures, one, streams), name + "-scaling"


def raise_descriptors():
    """The most open files a process may have, for this program and all it starts; the hard limit is raised if that may
    be."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in (max(hard, DESCRIPTORS_WANTED), hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
            break
        except (ValueError, OSError):
            continue
    return limit


def binary(value):
    label, _, path = value.rpartition("=")
    if not os.access(path, os.X_OK):
        raise Fault(f"--binary: {path}: no program")
    return label or "ours", os.path.abspath(path)


def default_binary():
    machine = {"arm64": "aarch64"}.get(platform.machine(), platform.machine())
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(HOME, "target"))
    path = os.path.join(target, f"{machine}-unknown-linux-musl", "release", PROGRAM)
    if not os.access(path, os.X_OK):
        raise Fault(f"{path} is missing: tests/run musl builds it, or give --binary")
    return "ours", path


def build():
    """The stick's two programs."""
    command = ["cargo", "build", "--quiet", "--release", "--locked", "--package", "perf"]
    if subprocess.run(command, cwd=HOME).returncode != 0:
        raise Fault("the stick does not build")
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(HOME, "target"))
    return {name: os.path.join(target, "release", name) for name in ("perf-load", "perf-backend")}


def choose(stick, binaries, cert, is_quick):
    """Who takes part, and why the others do not."""
    nginx = contenders.find_program("nginx", "nginx-light", not is_quick)
    runners = [contenders.Contender(stick), contenders.Nginx(stick, nginx)]
    runners += [contenders.Ours(stick, label, path, cert) for label, path in binaries]
    skipped = []
    cache = os.path.join(HOME, ".cache", "perf")
    for name, requirement, python, kind in (
        ("predecessor", "ollama-openai-proxy==0.7.0", (3, 11), contenders.Predecessor),
        ("oai2ollama", "oai2ollama==1.2.8.4", (3, 12), contenders.Oai2Ollama),
    ):
        if is_quick and kind is contenders.Oai2Ollama:
            continue
        try:
            runners.append(kind(stick, contenders.venv_with(cache, name, requirement, python, not is_quick)))
        except Fault as fault:
            skipped.append(f"{kind.name}: {fault}")
            print(f"skipped: {kind.name}: {fault}", file=sys.stderr)
    return runners, skipped


def find_strace(skipped):
    try:
        return contenders.find_program("strace", "strace", True)
    except Fault as fault:
        skipped.append(f"system calls: {fault}")
        return None


def heading(given, stick, count, load_average):
    with open(os.path.join(HOME, "Cargo.toml"), encoding="utf-8") as manifest:
        version = re.search(r'^version = "(.*)"', manifest.read(), re.M).group(1)
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        found = re.search(r"^model name\s*: (.*)", info.read(), re.M)
    model = found.group(1).strip() if found else platform.machine()
    count_cpus = len(os.sched_getaffinity(0))
    name = f"{version}-{re.sub('[^a-z0-9]+', '-', model.lower()).strip('-')}-{count_cpus}c"
    pinning = "not pinned"
    if stick.is_pinned:
        pinning = f"contender on processor {stick.contender_cpu}, load and backend on {stick.load_cpu}"
    words = " ".join(["perf/run", *sys.argv[1:]]) if not given.binary else "perf/run with --binary"
    return [
        f"# {PROGRAM} {version}: {'a quick look' if given.quick else 'how cost grows' if given.scaling else 'figures'}",
        "",
        f"Machine: {model}, {count_cpus} processors, Linux {platform.release()}, {platform.machine()}; {pinning}.",
        f"Medians of {count} interleaved round{'s' * (count > 1)}; in brackets the ratio to nginx (median of the",
        f"ratios within a round). Load average before the run {' '.join(load_average)}. Every answer was checked. Command:",
        "",
        f"    {words}",
        "",
    ], name


def page(header, figures, chosen, runners, skipped, judged):
    names = [runner.name for runner in runners]
    small = [runner.name for runner in runners if runner.is_small]
    added = table.added(figures, [runner.name if not runner.is_small else None for runner in runners])
    lines = [*header, *table.rows(figures, chosen, names, scenarios.SIZE), *added, ""]
    if small:
        given = scenarios.SMALL
        lines += [
            f"{' and '.join(small)} got loads they can carry: {given['rate']} requests a second or fewer,",
            f"{given['streams']} streams of {given['tokens']} tokens at full rate, {given['paced']} paced ones.",
            "Processor time can be compared, latency flatters them.",
            "",
        ]
    missing = [*(f"- {reason}" for reason in skipped), *table.faults(figures, chosen)]
    if missing:
        lines += ["No figure, and why:", "", *missing, ""]
    lines += judged
    return "\n".join(lines)


def draw(figures, runners, plan):
    """Three plots by name; one without values is none."""
    def middle(scenario, name, field, divisor=1):
        values = figures.of(scenario, name, field)
        return median(values.values()) / divisor if values else None

    quantiles = {"p50": "p50", "p90": "p90", "p99": "p99", "p99.9": "p999", "max": "max"}
    # The Python programs had another load, so their latency stands in the table only.
    alike = [runner.name for runner in runners if not runner.is_small]
    latency = {name: [middle("whole-32", name, f"total_{q}_us") for q in quantiles.values()] for name in alike}
    kinds = {"1 event a write": "stream", "16 a write": "packed", "cut each 7 bytes": "cut", "paced": "paced"}
    programs = [runner.name for runner in runners if runner.name != "direct"]
    cpu = {name: [middle(kind, name, "cpu_us_per_token") for kind in kinds.values()] for name in programs}
    memory = {name: [middle("memory", name, f"rss_kib_{n}", 1024) for n in plan.memory] for name in programs}
    title = "Latency of a whole small chat, 32 connections (logarithmic)"
    counts = [f"{streams:,}" for streams in plan.memory]
    charts = {
        "latency": plots.lines(title, "percentile", "µs", list(quantiles), filled(latency)),
        "cpu": plots.bars("Processor time per token (logarithmic)", "µs", list(kinds), filled(cpu)),
        "memory": plots.lines(
            "Memory under live streams (logarithmic)", "streams", "RSS, MiB", counts, filled(memory)
        ),
    }
    return {name: chart for name, chart in charts.items() if chart}


def filled(series):
    return {name: points for name, points in series.items() if any(points)}


def keep(path, report, charts):
    """The table, and the plots beside it."""
    stem = os.path.splitext(os.path.abspath(path))[0]
    os.makedirs(os.path.dirname(stem), exist_ok=True)
    with open(path, "w", encoding="utf-8") as out:
        out.write(report)
        out.writelines(f"![{name}]({os.path.basename(stem)}-{name}.svg)\n" for name in charts)
    for name, chart in charts.items():
        with open(f"{stem}-{name}.svg", "w", encoding="utf-8") as out:
            out.write(chart)
    print(f"written to {path}", file=sys.stderr)
