"""What is measured: each scenario is one call of the load generator for one contender, and the figures taken from it.

A figure is `(field of the report, title, unit, divisor)`. `README.md` has the reason of each scenario.
"""

from dataclasses import dataclass, replace
from typing import Callable

from .calls import counting

CPU_REQUEST = ("cpu_us_per_request", "CPU per request", "µs", 1)
CPU_TOKEN = ("cpu_us_per_token", "CPU per token", "µs", 1)
P50 = ("total_p50_us", "latency p50", "µs", 1)
P99 = ("total_p99_us", "latency p99", "µs", 1)
FIRST50 = ("first_p50_us", "first line p50", "µs", 1)
FIRST99 = ("first_p99_us", "first line p99", "µs", 1)
TOKENS = ("tokens_per_second", "tokens/s, all streams", "k/s", 1000)
DELAY50 = ("delay_p50_us", "delay per token p50", "µs", 1)
DELAY99 = ("delay_p99_us", "delay per token p99", "µs", 1)
GONE50 = ("gone_p50_us", "backend sees it p50", "µs", 1)
GONE99 = ("gone_p99_us", "backend sees it p99", "µs", 1)
AFTER = ("after_kib", "memory after 5,000 are closed (RSS)", "MiB", 1024)
IDLE = ("idle_kib", "memory at rest (RSS)", "MiB", 1024)
GIVEN_BACK = ("given_back", "of that given back", "%", 1)
SLOW = ("rss_growth_kib", "memory grown by (RSS)", "MiB", 1024)
CALLS = [
    ("calls_request", "per whole small chat", "", 1),
    ("calls_stream", "per token, 1 event a write", "", 1),
    ("calls_packed", "per token, 16 events a write", "", 1),
    ("calls_paced", "per token, paced, 100 tokens a stream", "", 1),
]
COLD50 = ("cold_p50_ms", "to the first 200, p50", "ms", 1)
COLD99 = ("cold_max_ms", "to the first 200, slowest", "ms", 1)
SIZE = ("bytes", "on disk", "MB", 1e6)

# What a Python program is given: a second of our work is minutes of theirs. 200 tokens fit into one read of 64 KiB;
# where a read ends inside an event, 0.7.0 loses that event.
SMALL = {"rate": 10, "streams": 2, "tokens": 200, "paced": 20, "memory": (1, 100), "burst": 100, "runs": 10, "cold": 3}


QUICK_SMALL = ("whole-1", "stream")
QUICK_WITHOUT = ("whole-shared", "first-shared")


@dataclass
class Scenario:
    """One line of the plan."""

    key: str
    title: str
    run: Callable
    figures: list
    # Names of contenders it is not for; `small` is every Python program.
    without: tuple = ()
    # In how many rounds at most: memory and cold starts repeat, and take long.
    rounds: int = 99
    # A process of its own, so that nothing else is in its memory.
    is_fresh: bool = False

    def is_for(self, contender):
        return contender.name not in self.without and not (contender.is_small and "small" in self.without)


@dataclass
class Plan:
    """Full or quick."""

    seconds: float
    tokens: int
    paced: int
    memory: tuple
    # After so many streams the process has `settle` seconds to give memory back.
    burst: int
    hold: float
    settle: float
    cold: int
    cancels: int


FULL = Plan(1.5, 5000, 1000, (1, 100, 1000, 5000, 10_000), 5000, 1.5, 8, 8, 40)
QUICK = Plan(0.4, 800, 200, (1, 200), 200, 1, 0.5, 4, 15)


def full(streams):
    """The full plan with at most so many live streams."""
    return replace(FULL, memory=tuple(sorted({min(count, streams) for count in FULL.memory})))


def requests(plan, model, rate, connections=1, small_rate=None):
    """Whole answers at a fixed rate, far below what nginx takes."""

    def run(stick, contender):
        return stick.load("requests", flags={
            **target(contender), "model": model, "connections": connections, "seconds": plan.seconds,
            "rate": small_rate or min(rate, SMALL["rate"]) if contender.is_small else rate,
        })

    return run


def full_rate(plan, kind, suffix="", part=1.0, streams=32):
    """Streams as fast as they go."""

    def run(stick, contender):
        tokens = SMALL["tokens"] if contender.is_small else max(100, int(plan.tokens * part))
        return stick.load("rate", flags={
            **target(contender), "model": f"{kind}-{tokens}{suffix}",
            "streams": SMALL["streams"] if contender.is_small else streams,
        })

    return run


def paced(plan, rate=10):
    """Live streams of so many tokens a second, closed unfinished."""

    def run(stick, contender):
        return stick.load("live", flags={
            **target(contender), "model": f"paced-600-{rate}", "hold": max(1, plan.seconds), "settle": 0,
            "streams": SMALL["paced"] if contender.is_small else plan.paced,
        })

    return run


def memory(plan):
    """Memory of a fresh process at rest and under more and more live streams, and what it gives back."""

    def run(stick, contender):
        stick.load("requests", flags={**target(contender), "model": "whole", "rate": 20, "seconds": 0.2})
        figures = {}
        counts = [n for n in plan.memory if not contender.is_small or n in SMALL["memory"]]
        burst = SMALL["burst"] if contender.is_small else plan.burst
        for streams in counts:
            report = stick.load("live", flags={
                # One token a second: memory is asked for, and 5,000 streams must not be short of processor.
                **target(contender), "model": "paced-600-1", "streams": streams, "hold": plan.hold,
                "settle": plan.settle if streams == burst else 0.2,
            })
            idle = figures.setdefault("idle_kib", report["rss_before_kib"])
            figures[f"rss_kib_{streams}"] = report["rss_live_kib"]
            figures[f"per_stream_kib_{streams}"] = (report["rss_live_kib"] - idle) / streams
            grown = report["rss_live_kib"] - idle
            figures["rss_kib_at_10000"] = idle + grown * 10_000 / streams
            if streams == burst:
                figures["after_kib"] = report["rss_after_kib"]
            if streams == burst and grown > 0:
                figures["given_back"] = 100 * (report["rss_live_kib"] - report["rss_after_kib"]) / grown
        return figures

    return run


def slow_readers(plan):
    def run(stick, contender):
        return stick.load("slow", flags={
            **target(contender), "model": "stream-800000", "streams": 4, "hold": max(1.5, plan.seconds),
        })

    return run


def cancel(plan):
    def run(stick, contender):
        runs = SMALL["runs"] if contender.is_small else plan.cancels
        return stick.load("cancel", flags={
            "address": contender.address, "api": contender.api, "backend": stick.backend, "runs": runs,
        })

    return run


def cold(plan):
    """Not pinned: a child inherits its parent's processors, and the parent polls."""

    def run(stick, contender):
        port = stick.free_port()
        # The environment is the contender's, so the generator gets it and hands it on.
        report = stick.load_with(
            contender.environment(port), "cold", "--", *contender.command(port),
            flags={"address": f"127.0.0.1:{port}", "path": contender.ready_path,
                   "runs": SMALL["cold"] if contender.is_small else plan.cold},
        )
        times = sorted(report["ms"])
        return {"cold_p50_ms": times[len(times) // 2], "cold_max_ms": times[-1]}

    return run


def system_calls(strace):
    """Of few but enough, since each costs twenty times as much under strace."""
    def streams(model, count):
        flags = {"model": model, "streams": count}
        return lambda stick, contender: stick.load("rate", flags={**target(contender), **flags})

    def whole(stick, contender):
        return stick.load("requests", flags={**target(contender), "model": "whole", "rate": 200, "seconds": 1})

    return counting(strace, [
        ("calls_request", whole, "requests"),
        ("calls_stream", streams("stream-500", 32), "tokens"),
        ("calls_packed", streams("packed-1000-16", 32), "tokens"),
        ("calls_paced", streams("paced-100-25", 40), "tokens"),
    ])


def over_tls(run):
    """The same with a backend that speaks TLS; a direct call then speaks it too."""

    def secured(stick, contender):
        plain = contender.address, contender.process
        contender.address = contender.tls_address
        if contender.process is None:
            contender.address, contender.ca = stick.backend_tls, stick.ca
        contender.process = getattr(contender, "tls_process", contender.process)
        try:
            return run(stick, contender)
        finally:
            contender.address, contender.process = plain
            contender.ca = None

    return secured


def on_one_processor(run):
    """The same with the contender moved to the processor of load and backend: no waking of a second one."""

    def shared(stick, contender):
        stick.move(contender.pid, stick.load_cpu)
        try:
            return run(stick, contender)
        finally:
            stick.move(contender.pid, stick.contender_cpu)

    return shared


def target(contender):
    return {"address": contender.address, "api": contender.api, "pid": contender.pid, "ca": contender.ca}


def all_scenarios(plan, has_tls, is_pinned, strace):
    """The plan, in the order of the table."""
    whole = [CPU_REQUEST, P50, P99]
    rate = [CPU_TOKEN, TOKENS]
    delays = [CPU_TOKEN, DELAY50, DELAY99]
    # Too few requests for a p99.
    large_answer = [CPU_REQUEST, P50]
    large = ("small",)
    no_process = ("direct",)
    resident = [IDLE, *per_stream(plan), AFTER, GIVEN_BACK]
    first = requests(plan, "paced-2-1000", 300)
    embed = requests(plan, "embed-64-1536", 20, small_rate=3)
    image = requests(plan, "image-1048576", 40, small_rate=3)
    history = requests(plan, "history-5000000", 15, small_rate=3)
    scenarios = [
        Scenario("whole-1", "Whole small chat, 1 connection, 1,000/s", requests(plan, "whole", 1000), whole),
        Scenario("whole-32", "Whole small chat, 32 connections, 3,000/s", requests(plan, "whole", 3000, 32), whole),
        Scenario("whole-256", "Whole small chat, 256 connections, 3,000/s", requests(plan, "whole", 3000, 256), whole,
                 large),
        Scenario("first", "Stream of two tokens, 1 connection, 300/s", first, [FIRST50, FIRST99]),
        Scenario("stream", "32 streams at full rate, 1 event a write", full_rate(plan, "stream"), rate),
        Scenario("packed", "32 streams at full rate, 16 events a write", full_rate(plan, "packed", "-16", 2), rate),
        Scenario("cut", "32 streams at full rate, cut every 7 bytes", full_rate(plan, "cut", "-7", 0.05), rate),
        Scenario("paced", f"{plan.paced:,} streams at 10 tokens/s", paced(plan), delays),
        Scenario("paced-20", f"{plan.paced:,} streams at 20 tokens/s", paced(plan, 20), delays, large),
        Scenario("embed", "Embeddings, 64 vectors of 1,536, 20/s", embed, large_answer),
        Scenario("image", "Chat with a picture of 1 MiB, 40/s", image, large_answer),
        Scenario("history", "Chat with a history of 5 MB, 15/s", history, large_answer),
        Scenario("slow", "4 slow readers of 200 MB each", slow_readers(plan), [SLOW], no_process + large,
                 is_fresh=True),
        Scenario("cancel", "Caller leaves a silent stream", cancel(plan), [GONE50, GONE99]),
        Scenario("memory", "Live streams at 1 token/s", memory(plan), resident, no_process, rounds=2, is_fresh=True),
        Scenario("cold", "Cold start", cold(plan), [COLD50, COLD99], no_process, rounds=3),
    ]
    if strace:
        scenarios.append(Scenario("calls", "System calls, counted by strace", system_calls(strace), CALLS,
                                  no_process + large, rounds=1))
    if has_tls:
        wrapped = over_tls(requests(plan, "whole", 1000, 32)), over_tls(full_rate(plan, "stream", part=0.4))
        scenarios[12:12] = [
            Scenario("tls-whole", "TLS backend: whole small chat, 32 connections, 1,000/s", wrapped[0], whole,
                     large),
            Scenario("tls-stream", "TLS backend: 32 streams at full rate, 1 event a write", wrapped[1], rate,
                     large),
        ]
    if is_pinned:
        shared = on_one_processor(requests(plan, "whole", 1000)), on_one_processor(first)
        scenarios[4:4] = [
            Scenario("whole-shared", "The whole chat, everything on one processor", shared[0], [P50, P99], large),
            Scenario("first-shared", "The first line, everything on one processor", shared[1], [FIRST50, FIRST99],
                     large),
        ]
    return scenarios


def for_quick(scenarios):
    """The same for a quick look: Python programs take seconds to start and answer, so they do two scenarios only."""
    for scenario in scenarios:
        if scenario.key not in QUICK_SMALL:
            scenario.without += ("small",)
    return [scenario for scenario in scenarios if scenario.key not in QUICK_WITHOUT]


def per_stream(plan):
    return [(f"per_stream_kib_{n}", f"memory per stream at {n:,} (RSS)", "KiB", 1) for n in plan.memory]
