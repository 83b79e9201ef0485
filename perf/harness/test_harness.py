"""What the table says and the plots show, from figures written by hand. `tests/run unit` runs it."""

import unittest
from xml.etree import ElementTree

from . import calls, contenders, plots, rounds, scenarios, table
from .stick import Fault


def figures(values):
    made = rounds.Figures()
    for (scenario, contender, name), by_round in values.items():
        for number, value in enumerate(by_round):
            made.add(scenario, contender, number, {name: value})
    return made


class Table(unittest.TestCase):
    def test_ratio_is_the_median_of_ratios_within_a_round_not_the_ratio_of_medians(self):
        made = figures({("s", "nginx", "x"): [1, 10, 100], ("s", "ours", "x"): [2, 30, 100]})
        self.assertEqual(table.ratio(made, "s", "ours", "x"), 2)

    def test_a_cell_has_the_median_its_unit_and_the_ratio(self):
        made = figures({("s", "nginx", "x"): [10, 20, 30], ("s", "ours", "x"): [5000, 10000, 15000]})
        figure = ("x", "title", "ms", 1000)
        self.assertEqual(table.cell(made, "s", "ours", figure), "10.0 ms (500.00)")
        self.assertEqual(table.cell(made, "s", "nginx", ("x", "title", "µs", 1)), "20.0 µs")
        self.assertEqual(table.cell(made, "s", "direct", figure), "–")

    def test_a_dropped_figure_says_so_whatever_was_reached_before(self):
        made = figures({("s", "0.7.0", "x"): [1, 2]})
        made.drop("s", "0.7.0", "token 7:\n another `word`")
        self.assertEqual(table.cell(made, "s", "0.7.0", ("x", "title", "ms", 1)), "no figure")
        self.assertEqual(list(table.faults(made, [])), ["- 0.7.0, start: `token 7: another word`"])

    def test_added_is_the_median_of_differences_and_only_of_those_with_the_same_load(self):
        values = {}
        for quantile, direct, ours in (("p50", [10, 20, 30], [15, 30, 90]), ("p99", [1, 1, 1], [2, 3, 4])):
            values[("whole-1", "direct", f"total_{quantile}_us")] = direct
            values[("whole-1", "ours", f"total_{quantile}_us")] = ours
        made = figures(values)
        row = "| **added to a whole chat**, p50 / p99 | – | 10 / 2 µs | – |"
        self.assertEqual(table.added(made, ["direct", "ours", None]), [row])


class Runner(contenders.Contender):
    """A contender without a program."""

    def __init__(self, name, is_must):
        self.name, self.is_must, self.process = name, is_must, None
        self.starts = 0

    def start(self):
        self.starts += 1

    def size(self):
        return 1


class Rounds(unittest.TestCase):
    def test_an_error_of_a_must_ends_the_run(self):
        with self.assertRaises(Fault):
            rounds.measure(None, [Runner("nginx", True)], [scenarios.Scenario("s", "title", fails, [])], 2)

    def test_an_error_of_another_takes_its_figures_and_starts_it_anew(self):
        answers = [{"x": 1}, None, {"x": 3}]

        def run(_stick, _contender):
            answer = answers.pop(0)
            if answer is None:
                raise Fault("wrong byte")
            return answer

        runner = Runner("0.7.0", False)
        made = rounds.measure(None, [runner], [scenarios.Scenario("s", "title", run, [])], 3)
        self.assertEqual(made.of("s", "0.7.0", "x"), {})
        self.assertEqual(made.faults, {("s", "0.7.0"): "wrong byte"})
        self.assertEqual((len(answers), runner.starts), (1, 4))

    def test_contenders_take_turns_to_be_first(self):
        order = []
        scenario = scenarios.Scenario("s", "title", lambda _, contender: order.append(contender.name) or {}, [])
        rounds.measure(None, [Runner("a", True), Runner("b", True)], [scenario], 2)
        self.assertEqual(order, ["a", "b", "b", "a"])

    def test_a_direct_call_has_no_processor_time(self):
        scenario = scenarios.Scenario("s", "title", lambda *_: {"cpu_us_per_token": 0, "x": 1}, [])
        made = rounds.measure(None, [Runner("direct", True)], [scenario], 1)
        self.assertEqual(made.of("s", "direct", "cpu_us_per_token"), {})
        self.assertEqual(made.of("s", "direct", "x"), {0: 1})


def fails(_stick, _contender):
    raise Fault("wrong byte")


class Calls(unittest.TestCase):
    def test_the_total_is_the_number_of_calls_with_and_without_errors(self):
        head = "% time     seconds  usecs/call     calls    errors syscall\n------ ----------- -----------\n"
        line = " 60.00    0.000600           2       300        {} read\n"
        for errors in ("12", ""):
            last = f"100.00    0.001000           2       450 {errors} total"
            self.assertEqual(calls.total(head + line.format("12") + last), 450)
        with self.assertRaises(Fault):
            calls.total("strace: Process 1 detached\n")


class Plots(unittest.TestCase):
    def test_lines_are_well_formed_and_hold_every_point(self):
        svg = plots.lines("a & b", "x", "µs", ["p50", "p99"], {"nginx": [20, 300], "<ours>": [10, None]})
        self.assertEqual(count(svg, "circle"), 3)
        self.assertIn("&lt;ours&gt;", svg)

    def test_bars_stay_inside_the_frame(self):
        svg = plots.bars("t", "µs", ["a", "b"], {"nginx": [0.3, 900], "ours": [0.2, 4]})
        for bar in list(elements(svg, "rect"))[1:]:
            self.assertGreaterEqual(float(bar.get("y")), plots.TOP)
            self.assertLessEqual(float(bar.get("y")) + float(bar.get("height")), plots.HEIGHT)

    def test_nothing_to_show_is_no_plot(self):
        self.assertIsNone(plots.lines("t", "x", "y", ["a"], {}))
        self.assertIsNone(plots.bars("t", "y", ["a"], {"ours": [None]}))


def elements(svg, name):
    return ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}" + name)


def count(svg, name):
    return len(list(elements(svg, name)))


class Plan(unittest.TestCase):
    def test_scenarios_have_names_of_their_own(self):
        keys = [scenario.key for scenario in scenarios.all_scenarios(scenarios.FULL, True, True, "strace")]
        self.assertEqual(len(keys), len(set(keys)))

    def test_nginx_neither_buffers_nor_closes(self):
        config = contenders.nginx_config("/tmp/x", 1, "127.0.0.1:2", 3, "127.0.0.1:4")
        for line in ("proxy_buffering off;", "proxy_request_buffering off;", 'proxy_set_header Connection "";'):
            self.assertEqual(config.count(line), 2)

    def test_no_setting_of_the_caller_reaches_a_contender(self):
        for name in ("OLLAMA_HOST", "OPENAI_API_KEY", "https_proxy", "LOG_LEVEL", "SSL_CA_FILE"):
            self.assertTrue(contenders.is_setting(name), name)
        self.assertFalse(contenders.is_setting("PATH"))


if __name__ == "__main__":
    unittest.main()
