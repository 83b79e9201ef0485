//! Golden files: for each request and each backend's answer, the bytes that go to the backend and to the client.
//!
//! The rows are those of the dialect catalogue (F: framing, J: chunks, T: reasoning, C: the calls' C-1 to C-18, E: ends and
//! errors, R: requests) and of the Ollama contract.
//! Which of them need more than a pure core, and which test they have instead, is in `ELSEWHERE`; so is the wait of F13.
//!
//! `BLESS=1 cargo test --test golden` rewrites the expected files. It knows nothing of what is right: read the diff
//! against the row that the case names before you keep it.
//!
//! What is too large to store (F24, lines that are split) and what time does to the figures stands below the files.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test stops where it fails")]

#[path = "golden/case.rs"]
mod case;

use bytes::{Bytes, BytesMut};
use case::{Asked, Body, Case, LOAD, NOW, STARTED_AT_NS, embedded, translated};
use ollama_openai_proxy::ollama::{Endpoint, Think, Timestamp};
use ollama_openai_proxy::translate::{Answering, BodyKind, StreamTranslator, ThinkTags, Wanted};
use std::fs;
use std::time::Duration;

/// Longest line that every client in the field can buffer, and the longest event taken from a backend.
const MAX_LINE_BYTES: usize = 64 << 10;
const MAX_EVENT_BYTES: usize = 4 << 20;

#[test]
fn every_case_gives_its_bytes() {
    let blesses = std::env::var_os("BLESS").is_some_and(|value| value == "1");
    let mut faults = Vec::new();
    for case in case::all() {
        let (request, answer) = outcome(&case);
        for (name, found) in [("upstream.json", request), ("client.ndjson", Some(answer))] {
            if blesses {
                bless(&case, name, found.as_deref());
                continue;
            }
            let expected = case.expected(name);
            if found != expected {
                faults.push(format!(
                    "{}/{name} ({})\n  expected {}\n  found    {}\n",
                    case.name,
                    case.note.lines().next().unwrap_or_default(),
                    shown(expected.as_deref()),
                    shown(found.as_deref())
                ));
            }
        }
    }
    assert!(faults.is_empty(), "{} files differ:\n{}", faults.len(), faults.join("\n"));
}

/// The backend's request, if it is asked at all, and the client's answer.
fn outcome(case: &Case) -> (Option<Vec<u8>>, Vec<u8>) {
    match (case.ask(), &case.upstream) {
        (Asked::Answered(body), None) => (None, body),
        (Asked::Backend { request, question }, Some(Body { kind, bytes })) => {
            (Some(request.to_vec()), translated(&question.wanted(case), *kind, [bytes.clone()]))
        }
        (Asked::Vectors { request, question }, Some(Body { bytes, .. })) => {
            (Some(request.to_vec()), embedded(&question, [bytes.clone()]))
        }
        (Asked::Answered(body), Some(_)) => {
            panic!("{}: the backend is not asked: {}", case.name, shown(Some(&body)))
        }
        (Asked::Backend { request, .. } | Asked::Vectors { request, .. }, None) => {
            panic!("{}: the backend is asked {}, and no file answers", case.name, shown(Some(&request)))
        }
    }
}

fn bless(case: &Case, name: &str, found: Option<&[u8]>) {
    let path = case.directory.join(name);
    match found {
        Some(bytes) => fs::write(path, bytes).unwrap(),
        None if path.exists() => fs::remove_file(path).unwrap(),
        None => {}
    }
}

fn shown(bytes: Option<&[u8]>) -> String {
    bytes.map_or("no file".to_string(), |bytes| bytes.escape_ascii().to_string().replace("\\\"", "\""))
}

/// The rows of the catalogue: a letter, and how many of them there are. What a pure core can show has a case in this
/// directory, the rest a test that [`ELSEWHERE`] names, so neither is lost unnoticed.
const ROWS: &[(char, usize)] = &[('F', 24), ('J', 14), ('T', 11), ('C', 18), ('E', 16), ('R', 14), ('M', 8)];

/// Rows that need a status, a header, a second request or more bytes than a file should hold.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    ("F18", "tests/api/errors.rs", "check_12_every_failure_before_the_first_line_is_a_status_with_a_text"),
    ("F24", "tests/golden.rs", "f24_an_event_up_to_the_cap_is_taken_and_one_past_it_ends_the_answer"),
    ("E12", "src/openai/cause_tests.rs", "e12_a_missing_model_is_known_by_code_or_words_with_every_status"),
    ("E13", "tests/api/auth.rs", "a_refused_client_key_is_the_clients_401_and_a_refused_proxy_key_is_not"),
    ("E14", "tests/api/errors.rs", "e14_retry_after_goes_along_in_whole_seconds"),
    ("E15", "tests/api/errors.rs", "check_12_every_failure_before_the_first_line_is_a_status_with_a_text"),
    ("E16", "tests/api/errors.rs", "check_12_every_failure_before_the_first_line_is_a_status_with_a_text"),
    ("R12", "tests/api/upstream.rs", "paths_stand_below_the_base_url_as_it_was_given"),
    (
        "R13",
        "tests/api/upstream.rs",
        "azure_is_asked_at_the_deployments_url_with_the_key_in_a_header_of_its_own",
    ),
    (
        "R14",
        "tests/api/upstream.rs",
        "r14_an_error_before_the_body_is_sent_is_told_at_once_and_the_connection_left",
    ),
    ("M04", "src/openai/model_tests.rs", "the_lists_of_backends_as_they_write_them"),
    ("M05", "src/openai/model_tests.rs", "the_lists_of_backends_as_they_write_them"),
    ("M07", "tests/api/refresh.rs", "an_old_list_is_answered_at_once_while_one_request_asks_for_a_new_one"),
    ("M08", "tests/api/wire_facts.rs", "no_header_of_the_backend_is_copied_into_the_answer"),
];

#[test]
fn every_row_has_its_case_or_a_test_elsewhere() {
    let rows: Vec<String> = case::all().iter().flat_map(Case::rows).collect();
    let all = ROWS.iter().flat_map(|(letter, last)| (1..=*last).map(move |row| format!("{letter}{row:02}")));
    let all: Vec<String> = all.collect();
    let unknown: Vec<_> = rows.iter().filter(|row| !all.contains(row)).collect();
    assert!(unknown.is_empty(), "cases of rows that there are not: {unknown:?}");
    for row in &all {
        let elsewhere: Vec<_> = ELSEWHERE.iter().filter(|(known, ..)| known == row).collect();
        assert!(elsewhere.len() <= 1, "{row} is twice in the table");
        let has_case = rows.contains(row);
        assert!(has_case || !elsewhere.is_empty(), "{row} has no case and no test elsewhere");
        assert!(!has_case || elsewhere.is_empty(), "{row} has a case: the table need not name it");
        for (_, file, test) in elsewhere {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains(&format!("#[test]\nfn {test}() {{")), "{row}: {file} has no {test}");
        }
    }
}

#[test]
fn every_expected_line_is_json_that_clients_can_read() {
    for case in case::all() {
        if let Some(request) = case.expected("upstream.json") {
            serde_json::from_slice::<serde_json::Value>(&request)
                .unwrap_or_else(|error| panic!("{}/upstream.json: {error}", case.name));
        }
        let lines = String::from_utf8(case.expected("client.ndjson").unwrap_or_default()).unwrap();
        check_lines(&case.name, &lines);
    }
}

/// Each line is one JSON object, none ends a line for Python before its end, and one at most is the last.
fn check_lines(name: &str, text: &str) {
    assert!(!text.is_empty(), "{name}: no answer");
    assert!(!text.contains(['\u{2028}', '\u{2029}', '\u{85}', '\r']), "{name}: a line end inside a line");
    let lines: Vec<&str> = text.strip_suffix('\n').unwrap_or(text).split('\n').collect();
    for (at, line) in lines.iter().enumerate() {
        let value: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{name}: {error} in {line}"));
        assert!(value.is_object(), "{name}: {line}");
        let is_whole = ["error", "embeddings", "embedding"].iter().any(|name| value.get(name).is_some());
        let is_last = is_whole || value["done"] == true;
        assert_eq!(is_last, at + 1 == lines.len(), "{name}: {line}");
        assert!(line.len() < MAX_LINE_BYTES, "{name}: a line of {} bytes", line.len());
    }
}

fn chat(stream: bool) -> Wanted<'static> {
    Wanted {
        endpoint: Endpoint::Chat,
        model: "m",
        stream,
        think: Think::Unset,
        logprobs: None,
        think_tags: ThinkTags::Off,
        started_at: Timestamp::from_unix_ns(STARTED_AT_NS),
        load: LOAD,
    }
}

fn delta(content: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{content}\"}}}}]}}\n\n")
}

const FINISH: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";

fn answer(text: String) -> String {
    String::from_utf8(translated(&chat(true), BodyKind::Events, [Bytes::from(text)])).unwrap()
}

/// Contract, section 7, row 18, and C5 of the catalogue.
#[test]
fn a_delta_of_300_kb_becomes_lines_of_64_kb_with_the_same_text() {
    for letter in ["a", "\u{e9}", "\u{1f600}", "\u{2028}", r"\n", r"\u00e9", r"\ud83d\ude00", r#"\""#, r"\\"]
    {
        let content = letter.repeat(300_000 / letter.len());
        let lines = answer(delta(&content) + FINISH);
        check_lines(letter, &lines);
        let said: String = lines
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|line| line["message"]["content"].as_str().unwrap().to_string())
            .collect();
        assert!(said == serde_json::from_str::<String>(&format!("\"{content}\"")).unwrap(), "{letter}");
        // 300 kB need five lines; escapes and replacements may cost some more, and the last line is the end.
        assert!((6..=20).contains(&lines.lines().count()), "{letter}: {} lines", lines.lines().count());
    }
}

#[test]
fn f24_an_event_up_to_the_cap_is_taken_and_one_past_it_ends_the_answer() {
    let around = delta("").len() - "\n\n".len();
    let fits = answer(delta("hi") + &delta(&"a".repeat(MAX_EVENT_BYTES - around)) + FINISH);
    check_lines("at the cap", &fits);
    assert!(fits.lines().last().unwrap().contains("\"done\":true"));

    let passes = answer(delta("hi") + &delta(&"a".repeat(MAX_EVENT_BYTES - around + 1)) + FINISH);
    let (first, rest) = passes.split_once('\n').unwrap();
    assert!(first.ends_with(r#""message":{"role":"assistant","content":"hi"},"done":false}"#), "{first}");
    assert_eq!(rest, "{\"error\":\"the backend sent more than 4194304 bytes in one event\"}\n");
}

/// F13: the finish reason is known, and the backend neither goes on nor hangs up. Floor 3 waits as long as this says
/// that only figures are missing, and then calls it the end.
#[test]
fn f13_behind_the_finish_reason_only_figures_are_waited_for() {
    let mut translator = StreamTranslator::new(&chat(true), BodyKind::Events);
    let mut out = BytesMut::new();
    let mut push = |text: &str| translator.push(text.as_bytes(), NOW, &mut out).unwrap();
    assert_eq!(push(&delta("hi")), Answering::Open);
    assert_eq!(push(FINISH), Answering::Finishing);
    assert_eq!(push(": still here\n\n"), Answering::Finishing);
    assert_eq!(push("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\n\n"), Answering::Finishing);
    assert_eq!(push("data: [DONE]\n\n"), Answering::Done);
    assert_eq!(push(&delta("more")), Answering::Done);
}

/// Contract, section 2.10: the durations are measured, and `created_at` is the time of the line.
#[test]
fn figures_are_those_of_the_clock() {
    let at = |ms: u64| Duration::from_millis(ms);
    let wanted = Wanted { load: at(10), started_at: Timestamp::from_unix_seconds(0), ..chat(true) };
    let steps = [
        (60, "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}]}\n\n".to_string()),
        (110, delta("a")),
        (310, delta("b")),
        (410, FINISH.to_string()),
        (
            510,
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2}}\n\n".to_string(),
        ),
        (610, "data: [DONE]\n\n".to_string()),
    ];
    let mut translator = StreamTranslator::new(&wanted, BodyKind::Events);
    let mut out = BytesMut::new();
    for (ms, text) in steps {
        translator.push(text.as_bytes(), at(ms), &mut out).unwrap();
    }
    let line = |time: &str, text: &str, rest: &str| {
        format!(
            "{{\"model\":\"m\",\"created_at\":\"1970-01-01T00:00:00.{time}Z\",\"message\":{{\"role\":\"assistant\",\"content\":\"{text}\"}},{rest}}}\n"
        )
    };
    let end = "\"done\":true,\"done_reason\":\"stop\",\"total_duration\":610000000,\"load_duration\":10000000,\
               \"prompt_eval_count\":7,\"prompt_eval_duration\":100000000,\"eval_count\":2,\"eval_duration\":200000000";
    let expected =
        line("11", "a", "\"done\":false") + &line("31", "b", "\"done\":false") + &line("61", "", end);
    assert_eq!(String::from_utf8(out.to_vec()).unwrap(), expected);
}
