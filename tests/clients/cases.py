"""Registers the cases of one client and runs them: each is counted, and none hides the ones after it.

A run ends with `NAME: N passed, M failed`.
"""

import asyncio
import inspect
import re
import sys
import traceback

CASES = []


def case(function):
    CASES.append((function.__name__, function, ()))
    return function


def each(values):
    """The same case for every value, each counted by itself."""
    def register(function):
        CASES.extend((f"{function.__name__}[{value}]", function, (value,)) for value in values)
        return function
    return register


def run(what: str, timeout_s: float) -> int:
    """Runs them all and gives the exit status; an asynchronous case has `timeout_s` seconds."""
    passed = failed = 0
    for name, function, arguments in CASES:
        name = re.sub(r"<function (\w+) at \w+>", r"\1", name)
        try:
            result = function(*arguments)
            if inspect.iscoroutine(result):
                asyncio.run(asyncio.wait_for(result, timeout_s))
        except Exception:
            failed += 1
            print(f"FAIL {name}")
            traceback.print_exc(file=sys.stdout)
        else:
            passed += 1
            print(f"ok   {name}")
    print(f"{what}: {passed} passed, {failed} failed")
    return 1 if failed else 0
