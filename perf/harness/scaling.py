"""`perf/run --scaling`: how cost grows from one live stream to 10,000, and what a second processor adds.

The page is written by the run; `perf/SCALING.md` says how to read it.
"""

import os
import subprocess
import time
from statistics import median

from . import contenders, plots, rounds, table
from .scenarios import CPU_TOKEN, DELAY50, DELAY99, TOKENS, Scenario, full_rate, target
from .stick import Fault, children

COUNTS = (1, 10, 100, 1000, 5000, 10_000)
# A stream has ten tokens a second until all together have so many; from there on streams grow and tokens do not.
ALL_TOKENS_PER_SECOND = 10_000
STREAM_TOKENS_PER_SECOND = 10
# Descriptors of a proxy that are no stream's.
SPARE = 200
ROUNDS = 3
HOLD_S = 4
SETTING = "PROXY_THREADS"
# Longer than the hold: the streams outlive whoever looks at them.
MARK_LIMIT_S = 60

BYTES = ("bytes_both_per_token", "Bytes copied per token", "B", 1)
WAKE_UPS = ("cpu_wake_ups_per_token", "Wake-ups per token", "", 1)
CALLS = ("calls_per_token", "System calls per token", "", 1)
BUSY = ("cpu_busy_percent", "Processor of the contender, busy", "%", 1)
LOAD_BUSY = ("load_busy_percent", "Processor of the load generator, busy", "%", 1)
RSS = ("rss_live_kib", "Memory (RSS)", "MiB", 1024)
PER_STREAM = ("rss_per_stream_kib", "Memory per stream (RSS, less that at rest)", "KiB", 1)
FIGURES = [TOKENS, CPU_TOKEN, CALLS, WAKE_UPS, BYTES, BUSY, LOAD_BUSY, DELAY50, DELAY99, RSS, PER_STREAM]


def counts(descriptors):
    """The numbers of streams; two descriptors each in a proxy, so the largest may have to be less."""
    most = (descriptors - SPARE) // 2 // 100 * 100
    return [min(count, most) for count in COUNTS if count <= most or count == COUNTS[-1]]


def pace(streams):
    """Tokens a second of one stream."""
    return max(1, min(STREAM_TOKENS_PER_SECOND, ALL_TOKENS_PER_SECOND // streams))


def live_flags(contender, streams):
    return {
        **target(contender), "model": f"paced-900-{pace(streams)}", "streams": streams, "hold": HOLD_S, "settle": 0,
    }


def warm(stick, contender):
    """A process at rest that has answered: what a stream adds is counted from there."""
    stick.load("requests", flags={**target(contender), "model": "whole", "rate": 20, "seconds": 0.2})


def live(streams):
    def run(stick, contender):
        warm(stick, contender)
        return stick.load("live", flags=live_flags(contender, streams))

    return run


def system_calls(perf, streams):
    """Calls a second over tokens a second while the streams are open, counted by the kernel: none is stopped for it."""

    def run(stick, contender):
        mark = os.path.join(stick.work, "mark")
        if os.path.exists(mark):
            os.remove(mark)
        begun = stick.load_begin("live", {**live_flags(contender, streams), "mark": mark})
        try:
            wait_for(mark, begun)
            seconds = HOLD_S / 2
            pids = ",".join([str(contender.pid), *children(contender.pid)])
            counted = subprocess.run(
                [perf, "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p", pids, "--", "sleep", str(seconds)],
                capture_output=True, text=True, timeout=MARK_LIMIT_S,
            )
            report = stick.load_end(begun)
        finally:
            stick.stop(begun)
        return {"calls_per_token": counter(counted.stderr) / seconds / report["tokens_per_second"]}

    return run


def wait_for(mark, process):
    end = time.monotonic() + MARK_LIMIT_S
    while not os.path.exists(mark):
        if process.poll() is not None or time.monotonic() > end:
            # What it has to say is read by who ends it.
            return
        time.sleep(0.02)


def counter(text):
    """The number in the first field of `perf stat -x,`."""
    for line in text.splitlines():
        words = line.split(",")
        if len(words) > 2 and "sys_enter" in line and words[0].isdigit():
            return int(words[0])
    raise Fault("perf stat counts no system calls: " + " ".join(text.split())[:200])


def find_perf():
    """The path of Linux' perf, or why there is no count of system calls."""
    perf = contenders.find_program("perf", "linux-perf", False)
    probe = [perf, "stat", "-x,", "-e", "raw_syscalls:sys_enter", "--", "true"]
    counter(subprocess.run(probe, capture_output=True, text=True, timeout=30).stderr)
    return perf


def plan(streams, perf, two):
    """The scenarios; the last three are for one and for two processors, whose contenders are named in `two`."""
    two, no_process = tuple(two), ("direct",)
    scenarios = [
        Scenario(f"live-{n}", f"{n:,} live streams of {pace(n)} tokens/s", live(n), FIGURES, two, is_fresh=True)
        for n in streams
    ]
    if perf:
        scenarios += [
            Scenario(f"calls-{n}", f"{n:,} live streams: system calls", system_calls(perf, n), [CALLS],
                     two + no_process, rounds=1)
            for n in streams
        ]
    return scenarios + [
        Scenario("two-stream", "32 streams at full rate, 1 event a write", full_rate(SecondPlan, "stream"),
                 [CPU_TOKEN, TOKENS], no_process),
        Scenario("two-packed", "32 streams at full rate, 16 events a write", full_rate(SecondPlan, "packed", "-16", 2),
                 [CPU_TOKEN, TOKENS], no_process),
        Scenario("two-paced", "1,000 streams at 10 tokens/s", live(1000), [CPU_TOKEN, WAKE_UPS, DELAY50, DELAY99],
                 no_process),
    ]


class SecondPlan:
    """Tokens of a stream at full rate, as in a full run."""

    tokens = 5000


NGINX_TWO, OURS_TWO, OURS_THREADS = "nginx, 2 workers", "2 processors", f"2 processors, {SETTING}=2"


def choose(stick, nginx, binaries):
    """Contenders on one processor, the same on two, and why some cannot be."""
    runners = [contenders.Contender(stick), contenders.Nginx(stick, nginx)]
    runners += [contenders.Ours(stick, label, path, None) for label, path in binaries]
    skipped, second = [], []
    if not stick.is_pinned:
        return runners, second, ["two processors: this machine has one"]
    second.append(contenders.Nginx(stick, nginx, NGINX_TWO, workers=2))
    for label, path in binaries:
        second.append(contenders.Ours(stick, f"{label}, {OURS_TWO}", path, None))
        if knows(path, SETTING):
            second.append(contenders.Ours(stick, f"{label}, {OURS_THREADS}", path, None, **{SETTING: "2"}))
        else:
            skipped.append(f"{label}, {OURS_THREADS}: this build has no setting {SETTING}; it has one thread")
    for runner in second:
        runner.cpu = stick.two_cpus
    return runners, second, skipped


def knows(path, setting):
    """A program that reads a setting holds its name."""
    with open(path, "rb") as program:
        return setting.encode() in program.read()


def measure(stick, nginx, binaries, streams, count, only):
    """All rounds: the figures, who took part on one and on two processors, and what is missing."""
    one, two, skipped = choose(stick, nginx, binaries)
    try:
        perf = find_perf()
    except Fault as fault:
        perf = None
        skipped.append(f"system calls: {fault}")
    names, two_names = [runner.name for runner in one], [runner.name for runner in two]
    chosen = [scenario for scenario in plan(streams, perf, two_names) if not only or scenario.key in only]
    figures = rounds.measure(stick, one + two, chosen, count)
    gather(figures, names, streams)
    return figures, names, two_names, skipped, chosen


def gather(figures, names, streams):
    """Two figures from two runs: calls to their streams, and the bytes of both sides. What a proxy reads of its backend is
    what a direct call reads of it, and what it writes is what its caller reads."""
    for n in streams:
        for name in names:
            for number, calls in figures.of(f"calls-{n}", name, "calls_per_token").items():
                figures.add(f"live-{n}", name, number, {"calls_per_token": calls})
            direct = figures.of(f"live-{n}", "direct", "bytes_per_token")
            for number, read in figures.of(f"live-{n}", name, "bytes_per_token").items():
                if name == "direct":
                    figures.add(f"live-{n}", name, number, {"bytes_both_per_token": read})
                elif number in direct:
                    figures.add(f"live-{n}", name, number, {"bytes_both_per_token": read + direct[number]})


def page(header, figures, one, two, streams, skipped, chosen):
    lines = [*header, "How to read it: [SCALING.md](../SCALING.md).", "", "## From one stream to many", ""]
    lines += by_count(figures, one, streams)
    second = [scenario for scenario in chosen if scenario.key.startswith("two-")]
    if two and second:
        names = [name for name in one if name != "direct"] + two
        lines += ["", "## What a second processor adds", "", *second_rows(figures, names, second)]
    missing = [*(f"- {reason}" for reason in skipped), *table.faults(figures, chosen)]
    if missing:
        lines += ["", "No figure, and why:", "", *missing]
    return "\n".join([*lines, ""])


def by_count(figures, names, streams):
    """A column for each number of streams; a block of rows for each figure."""
    rates = [f"{n:,} x {pace(n)}/s" for n in streams]
    lines = [f"| | {' | '.join(rates)} |", "|---|" + "---:|" * len(streams)]
    for figure in FIGURES:
        rows = {name: [table.cell(figures, f"live-{n}", name, figure) for n in streams] for name in names}
        rows = {name: cells for name, cells in rows.items() if any(cell != "–" for cell in cells)}
        if rows:
            lines.append(f"| **{figure[1]}** |{' |' * len(streams)}")
            lines += [f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()]
    return lines


def second_rows(figures, names, scenarios):
    lines = [f"| | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    for scenario in scenarios:
        lines.append(f"| **{scenario.title}** |{' |' * len(names)}")
        for figure in scenario.figures:
            cells = [table.cell(figures, scenario.key, name, figure) for name in names]
            lines.append(f"| {figure[1]} | {' | '.join(cells)} |")
    return lines


def draw(figures, names, streams):
    """Plots over the number of streams, by name."""
    titles = {
        "cpu": ("Processor time per token", CPU_TOKEN, "µs"),
        "delay": ("Delay per token, p99", DELAY99, "µs"),
        "memory": ("Memory under live streams", RSS, "MiB"),
        "wake-ups": ("Wake-ups per token", WAKE_UPS, "per token"),
    }
    charts = {}
    for key, (title, figure, unit) in titles.items():
        series = {}
        for name in names:
            values = [figures.of(f"live-{n}", name, figure[0]).values() for n in streams]
            series[name] = [median(found) / figure[3] if found else None for found in values]
        if key == "memory":
            series.pop("direct", None)
        series = {name: points for name, points in series.items() if any(points)}
        x_names = [f"{n:,}" for n in streams]
        charts[key] = plots.lines(f"{title} (logarithmic)", "live streams", unit, x_names, series)
    return {name: chart for name, chart in charts.items() if chart}
