//! The result does not depend on where the bytes were cut: every golden stream in two, three and single bytes gives the
//! lines it gives whole; cut short at any byte it gives the beginning of those lines and exactly one that ends them.
//! The same holds for streams made at random of the dialect catalogue's quirks. An event means the same whatever came
//! before it, and nothing is read twice.
//!
//! Time stands still here (one constant `now`), so the same lines means the same bytes.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test stops where it fails")]

#[path = "golden/case.rs"]
#[allow(dead_code, reason = "tests/golden.rs reads the rest of a case")]
mod case;

use bytes::{Bytes, BytesMut};
use case::{Asked, Body, LOAD, NOW, STARTED_AT_NS, embedded, translated};
use ollama_openai_proxy::ollama::{Endpoint, Think, Timestamp};
use ollama_openai_proxy::translate::{BodyKind, StreamTranslator, ThinkTags, Wanted};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, Instant};

/// Calls `check` for each golden case that has a backend's answer. Cases that differ only in the request count once.
fn each_stream(mut check: impl FnMut(&str, &Wanted<'_>, &Body)) {
    let mut seen = HashSet::new();
    for case in case::all() {
        if let (Asked::Backend { question, .. }, Some(body)) = (case.ask(), &case.upstream) {
            let wanted = question.wanted(&case);
            let same = Wanted { model: "", ..wanted.clone() };
            if seen.insert((format!("{same:?} {:?}", body.kind), body.bytes.clone())) {
                check(&case.name, &wanted, body);
            }
        }
    }
    assert!(seen.len() >= 80, "{} streams", seen.len());
}

fn whole(wanted: &Wanted<'_>, body: &Body) -> Vec<u8> {
    translated(wanted, body.kind, [body.bytes.clone()])
}

/// The parts between the cuts, empty ones too: a read may bring nothing.
fn parts(bytes: &Bytes, cuts: &[usize]) -> Vec<Bytes> {
    let ends = cuts.iter().copied().chain([bytes.len()]);
    let starts = [0].into_iter().chain(cuts.iter().copied());
    starts.zip(ends).map(|(start, end)| bytes.slice(start..end)).collect()
}

fn assert_same(name: &str, cuts: &[usize], found: &[u8], expected: &[u8]) {
    assert!(
        found == expected,
        "{name} cut at {cuts:?}\n  expected {}\n  found    {}",
        expected.escape_ascii(),
        found.escape_ascii()
    );
}

#[test]
fn every_golden_stream_cut_at_every_byte_gives_the_same_lines() {
    each_stream(|name, wanted, body| {
        let expected = whole(wanted, body);
        for cut in 0..=body.bytes.len() {
            let found = translated(wanted, body.kind, parts(&body.bytes, &[cut]));
            assert_same(name, &[cut], &found, &expected);
        }
    });
}

#[test]
fn every_golden_stream_byte_by_byte_gives_the_same_lines() {
    each_stream(|name, wanted, body| {
        let single = (0..body.bytes.len()).map(|at| body.bytes.slice(at..at + 1));
        let found = translated(wanted, body.kind, single);
        assert_same(name, &[], &found, &whole(wanted, body));
    });
}

#[test]
fn every_golden_list_of_vectors_cut_anywhere_gives_the_same_answer() {
    let mut count = 0;
    for case in case::all() {
        let (Asked::Vectors { question, .. }, Some(body)) = (case.ask(), &case.upstream) else { continue };
        count += 1;
        let expected = embedded(&question, [body.bytes.clone()]);
        let len = body.bytes.len();
        for cut in 0..=len {
            let found = embedded(&question, parts(&body.bytes, &[cut]));
            assert_same(&case.name, &[cut], &found, &expected);
        }
        let single = (0..len).map(|at| body.bytes.slice(at..at + 1));
        assert_same(&case.name, &[], &embedded(&question, single), &expected);
    }
    assert!(count >= 50, "{count} lists");
}

/// The lengths of the middle part where a stream is too long to try every pair of cuts: one byte of anything, a line
/// end, a byte order mark or a character, a pair of surrogate escapes.
const MIDDLES: [usize; 4] = [1, 2, 3, 12];
/// Longest stream of which every pair of cuts is tried.
const ALL_PAIRS: usize = 256;

#[test]
fn every_golden_stream_in_three_parts_gives_the_same_lines() {
    each_stream(|name, wanted, body| {
        let len = body.bytes.len();
        if len >= 1024 {
            return;
        }
        let expected = whole(wanted, body);
        let all: Vec<usize> = (0..=len).collect();
        let middles = if len <= ALL_PAIRS { &all[..] } else { &MIDDLES[..] };
        for first in 0..=len {
            for second in middles.iter().map(|middle| first + middle).filter(|second| *second <= len) {
                let found = translated(wanted, body.kind, parts(&body.bytes, &[first, second]));
                assert_same(name, &[first, second], &found, &expected);
            }
        }
    });
}

#[test]
fn every_golden_stream_cut_short_gives_a_beginning_and_one_end() {
    let mut faults = Vec::new();
    each_stream(|name, wanted, body| {
        let expected = Answer::read(&whole(wanted, body)).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        for len in 0..body.bytes.len() {
            let found = translated(wanted, body.kind, [body.bytes.slice(..len)]);
            if let Err(fault) = expected.check_cut_short(&found) {
                let found = found.escape_ascii();
                faults.push(format!("{name} cut short at {len}: {fault}\n  found {found}"));
            }
        }
    });
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// An answer whose every line is one JSON object with a line end, and whose last, and no other, ends it. An answer of
/// a single object, or a failure before the first line, has no line end.
struct Answer {
    lines: Vec<String>,
    end: serde_json::Value,
}

impl Answer {
    fn read(answer: &[u8]) -> Result<Self, String> {
        let (lines, last) = lines_and_last(answer)?;
        for line in &lines {
            if read_line(line)?["done"] != false {
                return Err(format!("no line of text: {line}"));
            }
        }
        Ok(Answer { lines: lines.into_iter().map(str::to_string).collect(), end: read_end(last)? })
    }

    /// The whole answer; or some of its lines, and a last one that says that the backend failed or, where the finish
    /// reason had come, that it was done.
    fn check_cut_short(&self, found: &[u8]) -> Result<(), String> {
        let (lines, last) = lines_and_last(found)?;
        let end = read_end(last)?;
        if !self.lines.iter().map(String::as_str).take(lines.len()).eq(lines.iter().copied()) {
            return Err("the lines are no beginning of the whole answer's".to_string());
        }
        // What one object says was in the lines otherwise.
        let said = |end: &serde_json::Value| (end["message"].clone(), end["response"].clone());
        let is_done = end["done"] == true;
        if is_done && (lines.len() < self.lines.len() || (self.is_done() && said(&end) != said(&self.end))) {
            return Err("done before the last text".to_string());
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.end["done"] == true
    }
}

fn lines_and_last(answer: &[u8]) -> Result<(Vec<&str>, &str), String> {
    let text = std::str::from_utf8(answer).map_err(|error| error.to_string())?;
    if text.contains(['\u{2028}', '\u{2029}', '\u{85}', '\r']) {
        return Err("a line end inside a line".to_string());
    }
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    let last = lines.pop().ok_or("no answer")?;
    if !lines.is_empty() && !last.ends_with('\n') {
        return Err("a line without its end".to_string());
    }
    Ok((lines, last))
}

fn read_line(line: &str) -> Result<serde_json::Value, String> {
    let json: serde_json::Value = serde_json::from_str(line).map_err(|error| format!("{error} in {line}"))?;
    if json.get("done").is_some_and(serde_json::Value::is_boolean) == json.get("error").is_some() {
        return Err(format!("neither a line nor a failure: {line}"));
    }
    Ok(json)
}

fn read_end(line: &str) -> Result<serde_json::Value, String> {
    let json = read_line(line)?;
    if json["done"] == true || json["error"].is_string() { Ok(json) } else { Err(format!("no end: {line}")) }
}

#[test]
fn the_check_of_cut_answers_knows_a_bad_one() {
    let line = "{\"response\":\"a\",\"done\":false}\n";
    let done = "{\"response\":\"\",\"done\":true}\n";
    let error = "{\"error\":\"cut\"}\n";
    let full = format!("{line}{done}");
    let whole = Answer::read(full.as_bytes()).unwrap();
    let check = |found: &str| whole.check_cut_short(found.as_bytes());
    for good in [full.clone(), format!("{line}{error}"), error.to_string(), error.trim_end().to_string()] {
        assert_eq!(check(&good), Ok(()), "{good}");
    }
    for bad in [
        String::new(),
        line.to_string(),
        done.to_string(),
        format!("{line}{done}{done}"),
        format!("{line}{done}{error}"),
        format!("{line}{error}{line}"),
        format!("{line}{}", error.trim_end()),
        format!("{line}{line}{error}"),
        format!("{line}{{\"respo\n"),
        format!("{line}\n{done}"),
        format!("{line}{}", done.replace("\"\"", "\"\u{2028}\"")),
    ] {
        assert!(check(&bad).is_err(), "{bad}");
    }
    for bad in [format!("{error}{done}"), format!("{done}{done}"), "{\"done\":false}".to_string()] {
        assert!(Answer::read(bad.as_bytes()).is_err(), "{bad}");
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Streams made at random.

fn chunk(delta: &str, finish_reason: &str, usage: &str) -> String {
    format!("{{\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish_reason}}}]{usage}}}")
}

fn content(text: &str) -> String {
    chunk(&format!("{{\"content\":\"{text}\"}}"), "null", "")
}

/// One event under one of the framings of section 1A.
fn framed(json: String) -> impl Strategy<Value = Vec<u8>> {
    let multi_line = json.replacen(',', ",\ndata: ", 1);
    prop::sample::select(vec![
        format!("data: {json}\n\n"),
        format!("data: {json}\n\n"),
        format!("data: {json}\r\n\r\n"),
        format!("data: {json}\r\r"),
        format!("data:{json}\n\n"),
        format!("data: {multi_line}\r\n\r\n"),
        format!("event: chunk\nid: 7\ndata: {json}\nretry: 1\n\n"),
        format!(": ping\ndata: {json}\n\n"),
        format!("{json}\n"),
        format!("data: {json}\n{json}\r\n").replacen(&json, "{\"choices\":[]}", 1),
    ])
    .prop_map(String::into_bytes)
}

/// Text deltas. Both halves of a surrogate pair come one behind the other, or the second never.
fn text_event() -> impl Strategy<Value = Vec<u8>> {
    let texts = [
        "a",
        "",
        " the quick brown fox",
        "\u{e9}\u{1f600}",
        "\u{2028}\u{2029}\u{85}",
        r#"\"\\\/\b\f\n\r\t"#,
        r"\u00e9\u2028",
        r"\ud83d\ude00",
        r"\\ud83d",
        "data: x",
        "[DONE]",
    ];
    prop::sample::select(texts.map(content).to_vec()).prop_flat_map(framed)
}

fn other_event() -> impl Strategy<Value = Vec<u8>> {
    let events = [
        chunk(r#"{"role":"assistant","content":null}"#, "null", ""),
        chunk(r#"{"reasoning_content":"hm"}"#, "\"\"", ""),
        chunk(r#"{"reasoning":"\ud83d\ude00","content":"x"}"#, "\"null\"", ""),
        chunk(
            r#"{"content":[{"type":"thinking","thinking":[{"text":"hm"}]},{"type":"text","text":"y"}]}"#,
            "null",
            "",
        ),
        chunk(
            r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":"}}]}"#,
            "null",
            "",
        ),
        chunk(r#"{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]}"#, "null", ""),
        chunk(r#"{"tool_calls":[{"index":1,"function":{"name":"g","arguments":{"y":[1, 2]}}}]}"#, "null", ""),
        chunk("{}", "null", r#","usage":{"prompt_tokens":3,"completion_tokens":4}"#),
        r#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":6.0}}"#.to_string(),
        r#"{"choices":[],"prompt_filter_results":[{"a":{"b":[{}]}}]}"#.to_string(),
        r#"{"choices":[{"index":1,"delta":{"content":"other"},"finish_reason":"stop"}]}"#.to_string(),
        r#"{"obfuscation":"xxxx","choices":[{"delta":{}}]}"#.to_string(),
    ];
    prop::sample::select(events.to_vec()).prop_flat_map(framed)
}

/// What is no event, or belongs to two.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let pair = [content(r"a\ud83d"), content(r"\ude00b")].map(|json| format!("data: {json}\n\n")).concat();
    let cut_rune = [&b"data: {\"choices\":[{\"delta\":{\"content\":\"caf\xc3"[..], b"\"}}]}\n\n"].concat();
    prop::sample::select(vec![
        b": keep-alive\n\n".to_vec(),
        b":\r\n\r\n".to_vec(),
        b"\n\n".to_vec(),
        b"\r".to_vec(),
        b"data:\n\n".to_vec(),
        b"data: \"\"\n\n".to_vec(),
        b"data: : keepalive\n\n".to_vec(),
        b"event: ping\n\n".to_vec(),
        b"id: 3\nretry: 5\nfoo\n bar: x\n".to_vec(),
        cut_rune,
        pair.into_bytes(),
    ])
}

/// What ends an answer, well or badly, or breaks it.
fn ending() -> impl Strategy<Value = Vec<u8>> {
    let event = |json: &str| format!("data: {json}\n\n").into_bytes();
    prop_oneof![
        4 => Just(event(&chunk("{}", "\"stop\"", ""))),
        2 => Just(event(&chunk(r#"{"content":"end"}"#, "\"length\"", ""))),
        1 => Just(event(&chunk("{}", "\"tool_calls\"", r#","usage":{"prompt_tokens":7}"#))),
        3 => Just(b"data: [DONE]\n\n".to_vec()),
        1 => Just(b"data:[DONE] \r\n\r\n".to_vec()),
        1 => Just(event(r#"{"error":{"message":"boom \"x\"\n","code":500}}"#)),
        1 => Just(b"event: error\ndata: boom\n\n".to_vec()),
        1 => Just(b"error: {\"message\":\"boom\"}\r\n\r\n".to_vec()),
        1 => Just(event(&chunk("{}", "\"abort\"", ""))),
        1 => Just(event(&chunk(r#"{"content":"half \ud83d"}"#, "\"stop\"", ""))),
        1 => Just(event("hello")),
        1 => Just(b"data: {\"choices\":[{\"delta\":{\"content\":\"cut".to_vec()),
    ]
}

/// Mostly text, sometimes a byte order mark, one end on average, and sometimes more behind it.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![8 => text_event(), 4 => other_event(), 3 => noise(), 1 => ending()];
    let bom = prop_oneof![5 => Just(Vec::new()), 1 => Just("\u{feff}".as_bytes().to_vec())];
    (bom, prop::collection::vec(token, 0..14), prop::collection::vec(ending(), 0..3))
        .prop_map(|(bom, tokens, ends)| [vec![bom], tokens, ends].concat().concat())
}

/// A document in the place of events, whole or not, behind white space or not.
fn document() -> impl Strategy<Value = Vec<u8>> {
    let documents = [
        r#"{"choices":[{"message":{"content":"Hi é","reasoning":"hm"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#,
        "{\n \"choices\": [\n  {\"message\": {\"content\": \"Hi\"}}\n ]\n}\n",
        "{\"choices\":[{\"message\":{\"content\":\"a\"}}]}\n{\"choices\":[{\"delta\":{\"content\":\"b\"},\"finish_reason\":\"stop\"}]}\n",
        r#"{"error":{"message":"boom"}}"#,
        r#"[{"error":{"message":"boom"}}]"#,
        "<html><title>Welcome</title></html>",
        r#"{"choices":null}"#,
        "",
    ];
    let space = prop::sample::select(vec!["", " \n\n", "\r\n\t"]);
    (space, prop::sample::select(documents.to_vec()))
        .prop_map(|(space, document)| format!("{space}{document}").into_bytes())
}

fn wanted(stream: bool, endpoint: Endpoint) -> Wanted<'static> {
    Wanted {
        endpoint,
        model: "m",
        stream,
        think: Think::Unset,
        logprobs: None,
        think_tags: ThinkTags::Off,
        started_at: Timestamp::from_unix_ns(STARTED_AT_NS),
        load: LOAD,
    }
}

/// The same on every run: a failure that comes and goes helps nobody.
fn fixed(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(2),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(fixed(1500))]

    #[test]
    fn any_stream_in_any_parts_gives_the_same_lines(
        bytes in prop_oneof![6 => stream(), 1 => document()],
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        streams in any::<bool>(),
        is_chat in any::<bool>(),
        is_said in any::<bool>(),
    ) {
        let wanted = wanted(streams, if is_chat { Endpoint::Chat } else { Endpoint::Generate });
        let kind = if is_said { BodyKind::Events } else { BodyKind::Unsaid };
        let bytes = Bytes::from(bytes);
        let expected = translated(&wanted, kind, [bytes.clone()]);
        // A set is sorted and has no empty middle part; those come with the golden streams.
        let cuts: BTreeSet<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        let cuts: Vec<usize> = cuts.into_iter().collect();
        let found = translated(&wanted, kind, parts(&bytes, &cuts));
        prop_assert_eq!(found.escape_ascii().to_string(), expected.escape_ascii().to_string());
        prop_assert_eq!(Answer::read(&expected).err(), None);
    }

    #[test]
    fn any_stream_cut_short_gives_a_beginning_and_one_end(bytes in stream(), len in any::<prop::sample::Index>()) {
        let wanted = wanted(true, Endpoint::Generate);
        let bytes = Bytes::from(bytes);
        let expected = translated(&wanted, BodyKind::Events, [bytes.clone()]);
        let found = translated(&wanted, BodyKind::Events, [bytes.slice(..len.index(bytes.len() + 1))]);
        let fault = Answer::read(&expected).and_then(|whole| whole.check_cut_short(&found)).err();
        prop_assert_eq!(fault, None, "{} of {}", found.escape_ascii(), expected.escape_ascii());
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// An event means the same whatever came before it.

/// The stream with a member that nobody knows in each event, another one each time: no event is then like the one
/// before it, and all are read in full.
fn unlike(bytes: &[u8]) -> Bytes {
    let mut made = Vec::with_capacity(bytes.len() * 2);
    for (at, byte) in bytes.iter().enumerate() {
        made.push(*byte);
        let rest = &bytes[at..];
        if rest.starts_with(b"{\"choices\":[") || rest.starts_with(b"{\"id\":\"chatcmpl-9\"") {
            made.extend_from_slice(format!("\"x{at}\":null,").as_bytes());
        }
    }
    made.into()
}

#[test]
fn every_golden_stream_of_unlike_events_gives_the_same_lines() {
    each_stream(|name, wanted, body| {
        let found = translated(wanted, body.kind, [unlike(&body.bytes)]);
        assert_same(name, &[], &found, &whole(wanted, body));
    });
}

proptest! {
    #![proptest_config(fixed(1500))]

    #[test]
    fn any_stream_of_unlike_events_gives_the_same_lines(bytes in stream(), streams in any::<bool>()) {
        let wanted = wanted(streams, Endpoint::Chat);
        let found = translated(&wanted, BodyKind::Events, [unlike(&bytes)]);
        let expected = translated(&wanted, BodyKind::Events, [Bytes::from(bytes)]);
        // A complaint about an event shows its beginning, which is not the same.
        let said = |answer: &[u8]| {
            let text = answer.escape_ascii().to_string();
            text.split("not an answer:").next().map(str::to_string)
        };
        prop_assert_eq!(said(&found), said(&expected));
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Nothing is read twice.

/// Longest that a test of this part may take before it is called quadratic: far more than it needs on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// The bytes in parts of this length; panics when they are not taken in time.
fn in_time(bytes: &Bytes, len: usize) -> impl Iterator<Item = Bytes> {
    let began = Instant::now();
    let starts = (0..bytes.len()).step_by(len);
    starts.map(move |at| {
        assert!(at % (1 << 16) != 0 || began.elapsed() < PATIENCE, "only {at} bytes in {PATIENCE:?}");
        bytes.slice(at..(at + len).min(bytes.len()))
    })
}

/// 4 MiB in single bytes: to look at each byte again with every read would be 8.8 * 10^12 steps, which is minutes of
/// the fastest search there is and hours of this build's; once each is a second or two.
#[test]
fn a_large_event_byte_by_byte_is_read_once() {
    const LARGE: usize = (4 << 20) - 100;
    let text = format!("data: {}\n\n", content(&"a".repeat(LARGE)));
    let bytes = Bytes::from(text + "data: [DONE]\n\n");
    let wanted = wanted(true, Endpoint::Chat);
    let found = translated(&wanted, BodyKind::Events, in_time(&bytes, 1));
    let expected = translated(&wanted, BodyKind::Events, [bytes]);
    assert!(found == expected && found.len() > LARGE);
}

/// The same for the other things that are collected: a document, the lines of one event, the arguments of a call.
#[test]
fn other_large_things_in_small_parts_are_read_once() {
    const LARGE: usize = 1 << 20;
    let document = format!("{{\"choices\":[{{\"message\":{{\"content\":\"{}\"}}}}]}}", "a".repeat(2 * LARGE));
    let lines = format!("data: {{\"choices\":[\n{}data: ]}}\n\n", "data: \n".repeat(LARGE / 4));
    let fragment = r#"{"tool_calls":[{"index":0,"function":{"name":"f","arguments":"        "}}]}"#;
    let calls = format!("data: {}\n\n", chunk(fragment, "null", "")).repeat(LARGE / 64);
    for (kind, text) in [(BodyKind::Unsaid, document), (BodyKind::Events, lines), (BodyKind::Events, calls)] {
        let mut translator = StreamTranslator::new(&wanted(true, Endpoint::Chat), kind);
        let mut out = BytesMut::new();
        for part in in_time(&Bytes::from(text), 4) {
            translator.push(&part, NOW, &mut out).unwrap();
        }
        assert!(out.is_empty());
    }
}
