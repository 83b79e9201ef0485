"""The plots, as SVG written by hand: lines over a logarithmic or a named axis, and groups of bars. No library."""

from html import escape
from math import ceil, floor, log10

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 80, 150, 50, 60
# Distinct in print and to the colour-blind (Okabe and Ito).
COLOURS = ["#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"]
# Of an axis within a power of ten, and how many lines it has at most.
STEPS = (1, 2, 5)
MOST_TICKS = 8
# The same contender has the same colour in every plot.
FIXED = {"direct": "#000000", "nginx": "#7f7f7f"}


def lines(title, x_title, y_title, x_names, series):
    """`series`: name to one value per x name, or none where there is none. The y axis is logarithmic."""
    values = [value for points in series.values() for value in points if value]
    if not values:
        return None
    low, high = bounds(values)
    out = frame(title, x_title, y_title, low, high)
    colours = colours_of(series)
    step = (WIDTH - LEFT - RIGHT) / max(1, len(x_names) - 1)
    for at, name in enumerate(x_names):
        out.append(text(LEFT + at * step, HEIGHT - BOTTOM + 18, name, "middle"))
    for at, (name, points) in enumerate(series.items()):
        colour = colours[name]
        places = [(LEFT + n * step, y_of(value, low, high)) for n, value in enumerate(points) if value]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in places]
        out += legend(at, name, colour)
    return finish(out)


def bars(title, y_title, group_names, series):
    """Groups of bars, each with its value above it. The y axis is logarithmic."""
    values = [value for points in series.values() for value in points if value]
    if not values:
        return None
    # A logarithmic axis has no zero: room below the smallest keeps its bar a bar.
    low, high = bounds([*values, min(values) / 3])
    out = frame(title, "", y_title, low, high)
    colours = colours_of(series)
    group = (WIDTH - LEFT - RIGHT) / len(group_names)
    width = group * 0.8 / len(series)
    for n, name in enumerate(group_names):
        out.append(text(LEFT + (n + 0.5) * group, HEIGHT - BOTTOM + 18, name, "middle"))
    for at, (name, points) in enumerate(series.items()):
        colour = colours[name]
        for n, value in enumerate(points):
            if value:
                x, y = LEFT + n * group + group * 0.1 + at * width, y_of(value, low, high)
                height = HEIGHT - BOTTOM - y
                size = f'width="{width * 0.9:.1f}" height="{height:.1f}"'
                out.append(f'<rect x="{x:.1f}" y="{y:.1f}" {size} fill="{colour}"/>')
                out.append(text(x + width * 0.45, y - 4, short(value), "middle", 10))
        out += legend(at, name, colour)
    return finish(out)


def colours_of(series):
    others = [name for name in series if name not in FIXED]
    return FIXED | {name: COLOURS[at % len(COLOURS)] for at, name in enumerate(others)}


def bounds(values):
    """The ends of the axis: the nearest of 1, 2 and 5 times a power of ten around the values."""
    least, most = min(values), max(values)
    steps = [step * 10.0**power for power in range(floor(log10(least)), ceil(log10(most)) + 1) for step in STEPS]
    low = max(step for step in steps if step <= least * 1.0001)
    return low, min(step for step in steps if step >= most * 0.9999 and step > low)


def ticks(low, high):
    """Where the axis has a line: at 1, 2 and 5 of each power of ten, or at the powers only where those are many."""
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    all_steps = [step * 10.0**power for power in powers for step in STEPS]
    inside = [step for step in all_steps if low * 0.999 <= step <= high * 1.001]
    if len(inside) <= MOST_TICKS:
        return inside
    return [10.0**power for power in powers if low * 0.999 <= 10.0**power <= high * 1.001]


def y_of(value, low, high):
    share = log10(value / low) / log10(high / low)
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def frame(title, x_title, y_title, low, high):
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        text(LEFT, 24, title, "start", 15),
        text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 18, x_title, "middle"),
        f'<text transform="translate(20,{(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">'
        f"{escape(y_title)}</text>",
    ]
    for tick in ticks(low, high):
        y = y_of(tick, low, high)
        out.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#cccccc"/>')
        out.append(text(LEFT - 8, y + 4, short(tick), "end"))
    return out


def legend(at, name, colour):
    y = TOP + 10 + at * 20
    box = f'<rect x="{WIDTH - RIGHT + 14}" y="{y - 9}" width="12" height="12" fill="{colour}"/>'
    return [box, text(WIDTH - RIGHT + 32, y + 2, name, "start")]


def text(x, y, words, anchor, size=12):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(words)}</text>'


def short(value):
    """A number in at most five characters."""
    for limit, unit in ((1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"


def finish(out):
    return "\n".join([*out, "</svg>"]) + "\n"
