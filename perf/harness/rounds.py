"""The rounds: every contender does a scenario before the next scenario begins, in an order that turns with the round,
so that all of them saw the same machine. An error of a direct call, of nginx or of us ends the run; one of a Python
program takes its figures of that scenario, whatever it had reached before.
"""

import sys

from .stick import Fault


class Figures:
    """Values by scenario, contender and field, one per round; and why some are missing."""

    def __init__(self):
        self.values = {}
        self.faults = {}

    def add(self, scenario, contender, round_number, report):
        for name, value in report.items():
            if isinstance(value, (int, float)):
                self.values.setdefault((scenario, contender, name), {})[round_number] = value

    def drop(self, scenario, contender, reason):
        self.faults[(scenario, contender)] = reason
        for key in [key for key in self.values if key[:2] == (scenario, contender)]:
            del self.values[key]

    def of(self, scenario, contender, name):
        """Values by round."""
        return self.values.get((scenario, contender, name), {})


def measure(stick, contenders, scenarios, rounds):
    """All rounds. A contender that is not a must and does not start is left out with its reason."""
    figures = Figures()
    for number in range(rounds):
        running = start(contenders, figures)
        for at, scenario in enumerate(s for s in scenarios if number < s.rounds):
            progress(f"round {number + 1} of {rounds}: {scenario.title}")
            turn = (number + at) % len(running)
            for contender in running[turn:] + running[:turn]:
                if scenario.is_for(contender) and (scenario.key, contender.name) not in figures.faults:
                    one(stick, contender, scenario, number, figures)
        for contender in running:
            contender.stop()
    progress("")
    for contender in contenders:
        figures.add("size", contender.name, 0, {"bytes": contender.size()})
    return figures


def progress(text):
    """On a terminal only: one line that says where the run is."""
    if sys.stderr.isatty():
        print(f"\r{text:<100}\r", end="", file=sys.stderr, flush=True)


def start(contenders, figures):
    running = []
    for contender in contenders:
        if ("start", contender.name) in figures.faults:
            continue
        try:
            contender.start()
            running.append(contender)
        except Fault as fault:
            contender.stop()
            if contender.is_must:
                raise
            figures.drop("start", contender.name, str(fault))
    return running


def one(stick, contender, scenario, number, figures):
    """One scenario, one contender, one round."""
    if scenario.is_fresh:
        contender.stop()
        contender.start()
    try:
        report = scenario.run(stick, contender)
        if contender.pid is None:
            # A direct call has no process of its own, so neither processor time nor memory.
            report = {name: value for name, value in report.items() if not name.startswith(("cpu_", "rss_"))}
        figures.add(scenario.key, contender.name, number, report)
    except Fault as fault:
        if contender.is_must:
            raise Fault(f"{scenario.title}, {contender.name}: {fault}") from None
        figures.drop(scenario.key, contender.name, str(fault))
        # What is left of it must not disturb the others.
        contender.stop()
        contender.start()
