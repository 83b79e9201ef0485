"""What this project wants to reach, and whether a run reached it: one table, made of the run's own medians."""

from dataclasses import dataclass
from statistics import median

from . import table

PREDECESSOR = "0.7.0"
LEAST_ROUNDS = 5


@dataclass
class Aim:
    """One line: a figure of a scenario and its limit.

    `kind` says how both meet. `ratio`: the median of the ratios to nginx within a round, at most. `most`: the median, at
    most. `least`: the median, at least. `every`: in every quiet round less. `times`: so many times less than the
    predecessor, the median of the ratios within a round.
    """

    title: str
    scenario: str
    field: str
    kind: str
    limit: float
    unit: str = ""
    divisor: float = 1


def all_aims(streams):
    """The list; `streams` is the largest number of live streams whose memory was read."""
    cpu_request, cpu_token = "cpu_us_per_request", "cpu_us_per_token"
    p50, delay50, delay99 = "total_p50_us", "delay_p50_us", "delay_p99_us"
    paced = [("paced", "1,000 streams at 10 tokens/s"), ("paced-20", "1,000 streams at 20 tokens/s")]
    whole = [("whole-1", "1 connection", 0.95), ("whole-32", "32 connections", 1.0),
             ("whole-256", "256 connections", 1.0)]
    aims = [Aim(f"Whole small chat, {name}: CPU", key, cpu_request, "ratio", limit) for key, name, limit in whole]
    aims += [Aim(f"Whole small chat, {name}: latency p50", key, p50, "ratio", 1.0) for key, name, _ in whole]
    aims += [
        Aim("Full rate, 1 event a write: CPU per token", "stream", cpu_token, "ratio", 0.85),
        Aim("Full rate, 16 events a write: CPU per token", "packed", cpu_token, "ratio", 0.5),
    ]
    for key, name in paced:
        aims += [
            Aim(f"{name}: CPU per token", key, cpu_token, "ratio", 0.85),
            Aim(f"{name}: delay p50", key, delay50, "ratio", 1.0),
            Aim(f"{name}: delay p99, each quiet round", key, delay99, "every", 1.0, "ms", 1000),
        ]
    aims += [
        Aim("Memory at rest", "memory", "idle_kib", "most", 3.0, "MB", 1e6 / 1024),
        Aim("Memory per live stream, at 5,000", "memory", "per_stream_kib_5000", "most", 8.0, "KiB"),
        # From all that were there, where the descriptors did not suffice for 10,000.
        Aim("Memory under 10,000 live streams" + ("" if streams >= 10_000 else f" (from {streams:,})"), "memory",
            "rss_kib_at_10000", "most", 90.0, "MB", 1e6 / 1024),
        Aim("Given back within 10 s after 5,000 live streams", "memory", "given_back", "least", 80.0, "%"),
        Aim("Growth under 4 slow readers of 200 MB", "slow", "rss_growth_kib", "most", 0.5, "MiB", 1024),
        Aim("History of 5 MB: CPU", "history", cpu_request, "ratio", 1.2),
        Aim("Picture of 1 MiB: CPU", "image", cpu_request, "ratio", 1.2),
        Aim("Embeddings 64 x 1,536: CPU", "embed", cpu_request, "ratio", 1.2),
        Aim("TLS backend, whole chat: CPU", "tls-whole", cpu_request, "ratio", 1.0),
        Aim("TLS backend, stream: CPU per token", "tls-stream", cpu_token, "ratio", 1.0),
        Aim("Cold start, p50", "cold", "cold_p50_ms", "most", 2.5, "ms"),
        Aim("Binary", "size", "bytes", "most", 3.0, "MB", 1e6),
        Aim("Caller gone: backend sees it, p50", "cancel", "gone_p50_us", "most", 1.0, "ms", 1000),
        Aim("Caller gone: backend sees it, p99", "cancel", "gone_p99_us", "most", 2.0, "ms", 1000),
        Aim("Predecessor's CPU per whole chat, 1 connection", "whole-1", cpu_request, "times", 150),
        Aim("Predecessor's CPU per whole chat, 32 connections", "whole-32", cpu_request, "times", 150),
        Aim("Predecessor's CPU per token at full rate", "stream", cpu_token, "times", 50),
    ]
    return aims


def judge(figures, name, aim):
    """What was measured, in words, and whether that reaches the aim; none where there is nothing to judge."""
    values = figures.of(aim.scenario, name, aim.field)
    if not values:
        return None
    if aim.kind in ("ratio", "times"):
        base, over = (table.BASE, name) if aim.kind == "ratio" else (name, PREDECESSOR)
        value = table.ratio(figures, aim.scenario, over, aim.field, base)
        if value is None:
            return None
        is_reached = value <= aim.limit if aim.kind == "ratio" else value >= aim.limit
        return near(value, aim.limit, ""), is_reached
    if aim.kind == "every":
        return worst(figures, name, aim, values)
    value = median(values.values()) / aim.divisor
    is_reached = value >= aim.limit if aim.kind == "least" else value <= aim.limit
    return near(value, aim.limit, aim.unit), is_reached


def worst(figures, name, aim, values):
    """The slowest of the quiet rounds. A round in which the direct call itself was over the limit measured a neighbour or
    the load generator."""
    direct = figures.of(aim.scenario, "direct", aim.field)
    quiet = [values[n] / aim.divisor for n in values if direct.get(n, 0) / aim.divisor < aim.limit]
    count = f"{len(quiet)} of {len(values)} rounds quiet"
    if not quiet:
        return count, None
    return f"{near(max(quiet), aim.limit, aim.unit)}, {count}", max(quiet) < aim.limit


def near(value, limit, unit):
    """Two or three digits, more where fewer would show the limit itself."""
    text = table.number(value, unit)
    return text if value == limit or text != table.number(limit, unit) else f"{value:,.4f} {unit}".strip()


SIGNS = {"ratio": "<= {} of nginx", "most": "<= {}", "least": ">= {}", "every": "< {}", "times": ">= {} times ours"}
VERDICTS = {True: "yes", False: "**no**", None: "not judged"}


def rows(figures, names, streams, rounds):
    """The table, for each build; an aim whose scenario was not run has no line."""
    lines = ["| Aim | Limit | " + " | ".join(f"{name} | reached" for name in names) + " |",
             "|---|---|" + "---|---|" * len(names)]
    judged = []
    for aim in all_aims(streams):
        verdicts = [judge(figures, name, aim) for name in names]
        if any(verdicts):
            limit = SIGNS[aim.kind].format(f"{aim.limit:g} {aim.unit}".strip())
            cells = [f"{verdict[0]} | {VERDICTS[verdict[1]]}" if verdict else "– | –" for verdict in verdicts]
            lines.append(f"| {aim.title} | {limit} | {' | '.join(cells)} |")
            judged += [verdict[1] for verdict in verdicts if verdict]
    if not judged:
        return []
    reached, missed = judged.count(True), judged.count(False)
    total = f"Reached: {reached}. Not reached: {missed}. Not judged: {judged.count(None)}."
    if rounds < LEAST_ROUNDS:
        total += f" Too few rounds: {LEAST_ROUNDS} quiet ones judge."
    return ["## Aims", "", total, "", *lines, ""]
