"""The table of README.md: how many cases of each client pass, by what they are about.

It reads what the clients printed (`ok   NAME`, `FAIL NAME`), one file for each client, and prints Markdown. It refuses a
case that belongs to no row, and a README.md whose table is not this one.

usage: table.py README FILE=CLIENT...
"""

import re
import sys
from pathlib import Path

# The first row that fits has the case.
ROWS = [
    ("embeddings", r"embed|vectors"),
    ("tools", r"tool"),
    ("structured output", r"structured|format_is"),
    ("hanging up", r"hang|cancel|abort|others_are_served"),
    ("errors", r"error|wrong|swallow|fails|not_found|is_404"),
    ("models and server", r"list|show|ps_|version|root|name_is|model"),
    ("what reaches the backend", r"upload|sent|options|system|history|raw_is|suffix|counterpart|key|authorization|empty_prompt"),
    ("chat and generate, whole", r"whole|answers|completions|every_way|time_is_told"),
    ("chat and generate, streamed", r"stream|part|asynchronous"),
]
BEGIN, END = "<!-- clients -->\n", "<!-- /clients -->"


def counted(text: str) -> dict[str, tuple[int, int]]:
    """Cases passed and cases in all, by row."""
    rows: dict[str, tuple[int, int]] = {}
    for outcome, name in re.findall(r"^(ok  |FAIL) (.+)$", text, re.M):
        fits = (row for row, pattern in ROWS if re.search(pattern, name.replace(" ", "_").lower()))
        row = next(fits, None)
        assert row, f"{name} fits no row of the table"
        passed, total = rows.get(row, (0, 0))
        rows[row] = (passed + (outcome == "ok  "), total + 1)
    return rows


def table(columns: dict[str, dict[str, tuple[int, int]]]) -> str:
    def cell(passed: int, total: int) -> str:
        return "–" if total == 0 else str(total) if passed == total else f"{passed} of {total}"
    lines = ["| Cases | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for row, _ in ROWS:
        lines.append(f"| {row} | " + " | ".join(cell(*column.get(row, (0, 0))) for column in columns.values()) + " |")
    sums = [tuple(map(sum, zip(*column.values()))) for column in columns.values()]
    lines.append("| in all | " + " | ".join(cell(*both) for both in sums) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    readme, *files = sys.argv[1:]
    columns = {client: counted(Path(path).read_text()) for path, client in (file.split("=", 1) for file in files)}
    made = table(columns)
    print(made, end="")
    text = Path(readme).read_text()
    known = text.partition(BEGIN)[2].partition(END)[0]
    if known != made:
        print(f"clients: {readme} has another table between {BEGIN.strip()} and {END}; put this one there")
        return 1
    return 0


sys.exit(main())
