"""System calls of a contender, counted by strace while it answers.

strace slows what it watches, so a program that batches what is ready batches more under it: the counts are a floor, and
no time is taken from such a run.
"""

import os
import signal
import subprocess
import time

from .stick import STOP_LIMIT_S, Fault, children

ATTACH_LIMIT_S = 5
# What `perf-load requests` sends before the requests it reports.
WARM_UP = 20


def counting(strace, parts):
    """A scenario: each part is `(field, run, what its report counts)`; gives system calls per counted thing."""

    def run(stick, contender):
        figures = {}
        for name, part, counted in parts:
            report, calls = count(strace, stick, contender, part)
            things = report[counted] + (WARM_UP if counted == "requests" else 0)
            figures[name] = calls / things
        return figures

    return run


def count(strace, stick, contender, run):
    path = os.path.join(stick.work, "strace")
    pids = [str(contender.pid), *children(contender.pid)]
    command = [strace, "-f", "-c", "-o", path] + [word for pid in pids for word in ("-p", pid)]
    watcher = stick.spawn(command, None, log="strace.log")
    try:
        attached(watcher, pids)
        report = run(stick, contender)
        # Its summary comes when it is interrupted.
        watcher.send_signal(signal.SIGINT)
        watcher.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        raise Fault("strace does not end") from None
    finally:
        stick.stop(watcher)
    with open(path, encoding="ascii") as summary:
        return report, total(summary.read())


def attached(watcher, pids):
    """Waits until every process is watched."""
    end = time.monotonic() + ATTACH_LIMIT_S
    while not all(is_watched(pid) for pid in pids):
        if watcher.poll() is not None or time.monotonic() > end:
            raise Fault("strace cannot attach; may this user trace processes?")
        time.sleep(0.02)


def is_watched(pid):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
        return any(line.startswith("TracerPid:") and line.split()[1] != "0" for line in status)


def total(summary):
    """The number of calls in the last line of strace's summary: share, seconds, microseconds a call, calls."""
    for line in summary.splitlines():
        words = line.split()
        if words and words[-1] == "total":
            return int(words[3])
    raise Fault("strace: no total in its summary")
