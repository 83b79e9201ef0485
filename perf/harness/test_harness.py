"""What the table says and the plots show, from figures written by hand. `tests/run unit` runs it."""

import unittest
from xml.etree import ElementTree

from . import aims, calls, contenders, plots, rounds, scaling, scenarios, table
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

    address = ca = None

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

    def test_a_direct_call_has_neither_processor_time_nor_memory(self):
        scenario = scenarios.Scenario("s", "title", lambda *_: {"cpu_us_per_token": 0, "rss_live_kib": 0, "x": 1}, [])
        made = rounds.measure(None, [Runner("direct", True)], [scenario], 1)
        self.assertEqual(made.of("s", "direct", "cpu_us_per_token"), {})
        self.assertEqual(made.of("s", "direct", "rss_live_kib"), {})
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


class Aims(unittest.TestCase):
    def verdict(self, kind, limit, values, unit="", divisor=1):
        made = figures({("s", name, "x"): by_round for name, by_round in values.items()})
        return aims.judge(made, "ours", aims.Aim("title", "s", "x", kind, limit, unit, divisor))

    def test_a_ratio_is_that_of_the_rounds_and_may_be_the_limit(self):
        self.assertEqual(self.verdict("ratio", 2, {"nginx": [1, 10, 100], "ours": [2, 30, 100]}), ("2.00", True))
        self.assertEqual(self.verdict("ratio", 1.9, {"nginx": [1, 10, 100], "ours": [2, 30, 100]}), ("2.00", False))

    def test_a_value_is_the_median_in_the_unit_of_its_limit(self):
        self.assertEqual(self.verdict("most", 2.5, {"ours": [1000, 2000, 9000]}, "ms", 1000), ("2.00 ms", True))
        self.assertEqual(self.verdict("least", 80, {"ours": [70, 79, 99]}, "%"), ("79.0 %", False))

    def test_what_rounds_to_the_limit_and_misses_it_shows_more_digits(self):
        self.assertEqual(self.verdict("most", 3, {"ours": [3.0004]}, "MB"), ("3.0004 MB", False))
        self.assertEqual(self.verdict("ratio", 0.85, {"nginx": [1], "ours": [0.8501]}), ("0.8501", False))
        self.assertEqual(self.verdict("most", 3, {"ours": [3.0]}, "MB"), ("3.00 MB", True))

    def test_each_quiet_round_counts_and_no_other(self):
        ours = [400, 900, 5000]
        self.assertEqual(self.verdict("every", 1, {"ours": ours, "direct": [100, 200, 3000]}, "ms", 1000),
                         ("0.90 ms, 2 of 3 rounds quiet", True))
        self.assertEqual(self.verdict("every", 1, {"ours": ours, "direct": [100, 200, 300]}, "ms", 1000),
                         ("5.00 ms, 3 of 3 rounds quiet", False))
        self.assertEqual(self.verdict("every", 1, {"ours": [400], "direct": [3000]}, "ms", 1000),
                         ("0 of 1 rounds quiet", None))

    def test_the_predecessor_is_a_multiple_of_ours(self):
        values = {"0.7.0": [300, 320, 310], "ours": [2, 2, 2]}
        self.assertEqual(self.verdict("times", 150, values), ("155", True))
        self.assertEqual(self.verdict("times", 160, values), ("155", False))

    def test_what_was_not_measured_is_not_judged(self):
        self.assertIsNone(self.verdict("most", 1, {}))
        self.assertIsNone(self.verdict("ratio", 1, {"ours": [1]}))
        self.assertEqual(aims.rows(figures({}), ["ours"], 10_000, 5), [])

    def test_every_aim_is_a_figure_of_the_full_plan(self):
        found = scenarios.all_scenarios(scenarios.FULL, True, True, "strace")
        keys = {(scenario.key, figure[0]) for scenario in found for figure in scenario.figures}
        keys |= {("size", "bytes"), ("memory", "rss_kib_at_10000")}
        for aim in aims.all_aims(10_000):
            self.assertIn((aim.scenario, aim.field), keys, aim.title)
            self.assertIn(aim.kind, aims.SIGNS)

    def test_the_table_has_a_line_for_each_judged_aim_and_sums_them_up(self):
        made = figures({("size", "ours", "bytes"): [2_900_000], ("cold", "ours", "cold_p50_ms"): [2.6, 2.7, 2.8]})
        text = "\n".join(aims.rows(made, ["ours"], 10_000, 5))
        self.assertIn("Reached: 1. Not reached: 1. Not judged: 0.", text)
        self.assertNotIn("Too few rounds", text)
        self.assertIn("Too few rounds", "\n".join(aims.rows(made, ["ours"], 10_000, 4)))
        self.assertIn("| Binary | <= 3 MB | 2.90 MB | yes |", text)
        self.assertIn("| Cold start, p50 | <= 2.5 ms | 2.70 ms | **no** |", text)


class Memory(unittest.TestCase):
    def test_the_burst_is_given_time_and_the_total_is_carried_to_ten_thousand(self):
        settled = {}

        class Stick:
            def load(self, mode, flags):
                if mode == "requests":
                    return {}
                streams = flags["streams"]
                settled[streams] = flags["settle"]
                return {"rss_before_kib": 2000, "rss_live_kib": 2000 + 8 * streams, "rss_after_kib": 2000 + streams}

        made = scenarios.memory(scenarios.full(9900))(Stick(), Runner("ours", True))
        self.assertEqual(settled, {1: 0.2, 100: 0.2, 1000: 0.2, 5000: 8, 9900: 0.2})
        self.assertEqual(made["rss_kib_at_10000"], 2000 + 8 * 10_000)
        self.assertEqual((made["after_kib"], made["given_back"]), (7000, 87.5))


class Scaling(unittest.TestCase):
    def test_streams_follow_the_descriptors_and_tokens_stop_growing(self):
        self.assertEqual(scaling.counts(65536), [1, 10, 100, 1000, 5000, 10_000])
        self.assertEqual(scaling.counts(20_000), [1, 10, 100, 1000, 5000, 9900])
        self.assertEqual(scaling.counts(4096), [1, 10, 100, 1000, 1900])
        self.assertEqual([scaling.pace(n) for n in (1, 1000, 5000, 9900, 10_000)], [10, 10, 2, 1, 1])

    def test_bytes_copied_are_those_of_both_sides_in_the_same_round(self):
        made = figures({
            ("live-1", "direct", "bytes_per_token"): [250, 260], ("live-1", "ours", "bytes_per_token"): [160, 170],
            ("calls-1", "ours", "calls_per_token"): [3],
        })
        scaling.gather(made, ["direct", "ours"], [1])
        self.assertEqual(made.of("live-1", "ours", "bytes_both_per_token"), {0: 410, 1: 430})
        self.assertEqual(made.of("live-1", "direct", "bytes_both_per_token"), {0: 250, 1: 260})
        self.assertEqual(made.of("live-1", "ours", "calls_per_token"), {0: 3})

    def test_the_kernel_s_count_is_read_and_a_refusal_is_a_fault(self):
        self.assertEqual(scaling.counter("4200,,raw_syscalls:sys_enter,99,100.00,,\n"), 4200)
        for text in ("<not counted>,,raw_syscalls:sys_enter,0,100.00,,", "event syntax error: no permission", ""):
            with self.assertRaises(Fault):
                scaling.counter(text)

    def test_a_column_for_each_number_of_streams_and_no_row_without_a_figure(self):
        made = figures({("live-1", "nginx", "delay_p50_us"): [10], ("live-10", "nginx", "delay_p50_us"): [20],
                        ("live-1", "ours", "delay_p50_us"): [5]})
        self.assertEqual(scaling.by_count(made, ["direct", "nginx", "ours"], [1, 10]), [
            "| | 1 x 10/s | 10 x 10/s |",
            "|---|---:|---:|",
            "| **delay per token p50** | | |",
            "| nginx | 10.0 µs | 20.0 µs |",
            "| ours | 5.00 µs (0.50) | – |",
        ])

    def test_those_on_two_processors_do_that_part_only(self):
        names = {"two-stream", "two-packed", "two-paced"}
        found = scaling.plan([1, 10], "perf", ["nginx, 2 workers"])
        self.assertEqual({s.key for s in found if s.is_for(Runner("nginx, 2 workers", True))}, names)
        self.assertTrue(names.isdisjoint(s.key for s in found if s.is_for(Runner("direct", True))))
        self.assertEqual(len({s.key for s in found}), len(found))

    def test_two_workers_have_a_socket_each(self):
        self.assertIn("backlog=4096 reuseport;", contenders.nginx_config("/tmp/x", 1, "a:2", None, None, 2))
        self.assertNotIn("reuseport", contenders.nginx_config("/tmp/x", 1, "a:2", None, None))


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

    def test_the_axis_is_close_around_the_values_and_has_few_lines(self):
        self.assertEqual(plots.bounds([18.8, 148]), (10, 200))
        self.assertEqual(plots.bounds([0.09, 1.05]), (0.05, 2))
        self.assertEqual(plots.bounds([10, 10]), (10, 20))
        self.assertEqual(plots.ticks(10, 200), [10, 20, 50, 100, 200])
        self.assertEqual([plots.short(tick) for tick in plots.ticks(0.05, 500)], ["0.1", "1", "10", "100"])

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
