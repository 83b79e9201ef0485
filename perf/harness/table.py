"""The table: medians over the rounds, and beside each the median of its ratios to nginx in the same round."""

from statistics import median

BASE = "nginx"
# Differences from zero, shares, and a program whose libraries are elsewhere: a ratio would say nothing.
WITHOUT_RATIO = ("rss_growth_kib", "given_back", "bytes", "cpu_busy_percent", "load_busy_percent")
ADDED = (
    ("added to the first line", "first", "first"),
    ("added to the first line, one processor", "first-shared", "first"),
    ("added to a whole chat", "whole-1", "total"),
    ("added to a whole chat, one processor", "whole-shared", "total"),
)


def ratio(figures, scenario, contender, name, base_name=BASE):
    """The median over the rounds of this contender's value over nginx's, or another's; none where one of the two is
    missing."""
    ours, base = figures.of(scenario, contender, name), figures.of(scenario, base_name, name)
    ratios = [ours[n] / base[n] for n in ours if base.get(n)]
    return median(ratios) if ratios else None


def number(value, unit=""):
    """Three digits and a unit."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f} {unit}".strip()


def cell(figures, scenario, contender, figure):
    name, _, unit, divisor = figure
    values = figures.of(scenario, contender, name)
    if not values:
        failed = (scenario, contender) in figures.faults or ("start", contender) in figures.faults
        return "no figure" if failed else "–"
    text = number(median(values.values()) / divisor, unit)
    times = ratio(figures, scenario, contender, name)
    if contender == BASE or times is None or name in WITHOUT_RATIO:
        return text
    return f"{text} ({times:.2f})"


def rows(figures, scenarios, names, size_figure):
    """The rows of the table: a title of the scenario, then its figures."""
    lines = [f"| | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for scenario in scenarios:
        lines.append(f"| **{scenario.title}** |{' |' * len(names)}")
        for figure in scenario.figures:
            cells = [cell(figures, scenario.key, name, figure) for name in names]
            if any(text != "–" for text in cells):
                lines.append(f"| {figure[1]} | {' | '.join(cells)} |")
    cells = [cell(figures, "size", name, size_figure) for name in names]
    lines.append(f"| **Size** {size_figure[1]} | {' | '.join(cells)} |")
    return lines


def added(figures, names):
    """What a contender adds to a direct call of the same round: the median of the differences, p50 and p99. A name that
    is none has had another load than the direct call, so a difference would be none of its own."""
    lines = []
    for title, scenario, kind in ADDED:
        cells = []
        for name in names:
            differences = []
            for quantile in ("p50", "p99"):
                field = f"{kind}_{quantile}_us"
                theirs, direct = figures.of(scenario, name, field), figures.of(scenario, "direct", field)
                differences.append([theirs[n] - direct[n] for n in theirs if n in direct])
            is_there = name not in (None, "direct") and all(differences)
            cells.append(" / ".join(f"{median(values):.0f}" for values in differences) + " µs" if is_there else "–")
        if any(text != "–" for text in cells):
            lines.append(f"| **{title}**, p50 / p99 | {' | '.join(cells)} |")
    return lines


def faults(figures, scenarios):
    """Why figures are missing, one line each."""
    titles = {scenario.key: scenario.title for scenario in scenarios}
    for (scenario, contender), reason in sorted(figures.faults.items()):
        first = " ".join(reason.split())[:200]
        yield f"- {contender}, {titles.get(scenario, 'start')}: `{first.replace('`', '')}`"
