//! The translator on streams as backends send them, and on every way to cut them.
//! The golden streams of `tests/golden` are replayed under every cut by `tests/split.rs`.

use super::super::output::MAX_LINE_BYTES;
use super::*;

fn wanted(stream: bool) -> Wanted<'static> {
    Wanted {
        endpoint: Endpoint::Chat,
        model: "m",
        stream,
        think: Think::Unset,
        logprobs: None,
        think_tags: ThinkTags::Off,
        started_at: Timestamp::from_unix_seconds(0),
        load: Duration::from_nanos(1),
    }
}

/// The lines, and the fault that ended them.
fn translate_as(wanted: &Wanted<'_>, kind: BodyKind, parts: &[&[u8]]) -> (String, Option<Fault>) {
    let mut translator = StreamTranslator::new(wanted, kind);
    let mut out = BytesMut::new();
    let mut run = || {
        for part in parts {
            translator.push(part, Duration::from_nanos(2), &mut out)?;
        }
        translator.finish(Duration::from_nanos(2), &mut out)
    };
    let fault = run().err();
    (String::from_utf8(out.to_vec()).unwrap(), fault)
}

fn translate(text: &str) -> (String, Option<Fault>) {
    translate_as(&wanted(true), BodyKind::Events, &[text.as_bytes()])
}

/// The beginning of a line is kept from line to line: it must be that of the line's kind and time.
#[test]
fn each_line_has_its_own_time_and_kind() {
    let mut translator = StreamTranslator::new(&wanted(true), BodyKind::Events);
    for (member, ns, time) in [
        ("content", 1_000_000_000, "01"),
        ("content", 1_250_000_000, "01.25"),
        ("content", 1_260_000_000, "01.26"),
        ("reasoning", 1_260_000_000, "01.26"),
        ("reasoning", 1_300_000_000, "01.3"),
        ("content", 2_400_000_000, "02.4"),
        ("content", 2_400_000_000, "02.4"),
    ] {
        let event = format!("data: {{\"choices\":[{{\"delta\":{{\"{member}\":\"a\"}}}}]}}\n\n");
        let mut out = BytesMut::new();
        translator.push(event.as_bytes(), Duration::from_nanos(ns), &mut out).unwrap();
        let said = if member == "content" { "\"a\"" } else { "\"\",\"thinking\":\"a\"" };
        let expected = format!(
            "{{\"model\":\"m\",\"created_at\":\"1970-01-01T00:00:{time}Z\",\"message\":{{\"role\":\"assistant\",\"content\":{said}}},\"done\":false}}\n"
        );
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }
}

/// Events that are alike take a way of their own, by the length of their texts and what stands in them.
#[test]
fn a_text_of_any_length_makes_its_line() {
    let texts: Vec<String> = (1..40)
        .map(|len| "abcdefgh".repeat(5)[..len].to_string())
        .chain((1..40).map(|len| format!("{}\\n", "x".repeat(len))))
        .chain((1..20).map(|len| "\u{e9}".repeat(len)))
        .chain([r"\u4f60", r"a\u00e9", r"x\\ud83d", r#"\""#].map(str::to_string))
        .chain((200..300).map(|len| "y".repeat(len)))
        .collect();
    for member in ["content", "reasoning"] {
        let events: Vec<String> =
            texts.iter().map(|text| delta(&format!(r#"{{"{member}":"{text}"}}"#))).collect();
        let said = |text: &str| match member {
            "content" => format!("\"{text}\""),
            _ => format!("\"\",\"thinking\":\"{text}\""),
        };
        let expected: String = texts.iter().map(|text| format!(
            "{{\"model\":\"m\",\"created_at\":\"1970-01-01T00:00:00.000000002Z\",\"message\":{{\"role\":\"assistant\",\"content\":{}}},\"done\":false}}\n",
            said(text)
        )).collect();
        let (lines, _) = translate(&events.concat());
        assert_eq!(lines, expected);
        // Half a pair waits for the other half, in whatever line that comes.
        let halves =
            [delta(&format!(r#"{{"{member}":"a\ud83d"}}"#)), delta(&format!(r#"{{"{member}":"\ude00b"}}"#))];
        let (lines, _) = translate(&[&events[..2], &halves, &events[..2]].concat().concat());
        let told: Vec<&str> = lines.lines().collect();
        assert!(told[2].contains(&said("a")) && told[3].contains(&said(r"\ud83d\ude00b")), "{lines}");
        assert!(told[4].contains(&said("a")) && told[5].contains(&said("ab")), "{lines}");
    }
}

/// What the lines say: content, thinking in angle brackets, calls, the reason; or the fault.
fn said(text: &str) -> String {
    let (lines, fault) = translate(text);
    let mut said = summary(&lines);
    if let Some(fault) = fault {
        said.push_str(&format!("!{fault}"));
    }
    said
}

fn summary(lines: &str) -> String {
    let mut said = String::new();
    for line in lines.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let message = &line["message"];
        said.push_str(message["content"].as_str().unwrap());
        if let Some(thinking) = message["thinking"].as_str() {
            said.push_str(&format!("<{thinking}>"));
        }
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            said.push_str(&format!(
                "[{} {}]",
                call["function"]["name"].as_str().unwrap(),
                call["function"]["arguments"]
            ));
        }
        if line["done"] == true {
            said.push_str(&format!("({})", line["done_reason"].as_str().unwrap()));
        }
    }
    said
}

fn delta(delta: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":null}}]}}\n\n")
}

fn finish(reason: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{}},\"finish_reason\":\"{reason}\"}}]}}\n\n")
}

const DONE: &str = "data: [DONE]\n\n";

fn stream(parts: &[String]) -> String {
    parts.concat()
}

#[test]
fn the_usual_stream_to_the_byte() {
    let usage =
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2}}\n\n".to_string();
    let text = stream(&[
        delta(r#"{"role":"assistant","content":""}"#),
        delta(r#"{"content":"Hi"}"#),
        delta(r#"{"content":" \u00e9"}"#),
        finish("stop"),
        usage,
        DONE.to_string(),
    ]);
    let (lines, fault) = translate(&text);
    assert_eq!(fault, None);
    let at = "1970-01-01T00:00:00.000000002Z";
    let line = |text: &str| {
        format!(
            r#"{{"model":"m","created_at":"{at}","message":{{"role":"assistant","content":"{text}"}},"done":"#
        )
    };
    let expected = format!(
        "{}false}}\n{}false}}\n{}true,\"done_reason\":\"stop\",\"total_duration\":2,\"load_duration\":1,\"prompt_eval_count\":5,\"prompt_eval_duration\":1,\"eval_count\":2,\"eval_duration\":1}}\n",
        line("Hi"),
        line(r" \u00e9"),
        line("")
    );
    assert_eq!(lines, expected);
}

#[test]
fn how_streams_end() {
    let hi = || delta(r#"{"content":"Hi"}"#);
    let truncated = format!("!{}", Fault::Truncated);
    let table: Vec<(&str, String, String)> = vec![
        ("as it should", hi() + &finish("stop") + DONE, "Hi(stop)".into()),
        ("length", hi() + &finish("length") + DONE, "Hi(length)".into()),
        ("no [DONE]", hi() + &finish("stop"), "Hi(stop)".into()),
        ("no reason", hi() + DONE, "Hi(stop)".into()),
        (
            "the last event lacks its blank line",
            (hi() + &finish("stop")).trim_end().to_string(),
            "Hi(stop)".into(),
        ),
        ("[DONE] lacks its line end", hi() + "data: [DONE]", "Hi(stop)".into()),
        ("neither reason nor [DONE]", hi(), format!("Hi{truncated}")),
        (
            "inside an event",
            hi() + "data: {\"choices\":[{\"delta\":{\"content\":\"x",
            format!("Hi{truncated}"),
        ),
        ("inside [DONE], reason seen", hi() + &finish("stop") + "data: [DON", "Hi(stop)".into()),
        ("at once", String::new(), truncated.clone()),
        ("comments only", ": ping\n\n: ping\n\n".into(), truncated.clone()),
        ("nothing behind [DONE] counts", hi() + DONE + &hi() + "data: junk\n\n", "Hi(stop)".into()),
        ("nothing but figures behind the reason", hi() + &finish("stop") + &hi() + DONE, "Hi(stop)".into()),
        (
            "failed",
            hi() + &finish("error") + DONE,
            "Hi!the backend reported an error without a message".into(),
        ),
        ("an error event", hi() + "data: {\"error\":{\"message\":\"boom\"}}\n\n", "Hi!boom".into()),
        ("an event named error", hi() + "event: error\ndata: boom\n\n", "Hi!boom".into()),
        ("a field named error", hi() + "error: {\"code\":500,\"message\":\"boom\"}\n\n", "Hi!boom".into()),
        (
            "half a call",
            delta(r#"{"tool_calls":[{"index":0,"function":{"name":"f","arguments":"{"}}]}"#),
            truncated,
        ),
    ];
    for (what, text, expected) in table {
        assert_eq!(said(&text), expected, "{what}");
    }
}

#[test]
fn what_deltas_bring() {
    let table = [
        (
            "keep-alives in data",
            format!("data:\n\ndata: \"\"\n\ndata: : ping\n\n{}", delta(r#"{"content":"a"}"#)),
            "a(stop)",
        ),
        (
            "thinking, then text",
            delta(r#"{"reasoning_content":"hm"}"#) + &delta(r#"{"reasoning":"m","content":"a"}"#),
            "<hm><m>a(stop)",
        ),
        (
            "parts",
            delta(
                r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"a"},{"thinking":"x"}]}"#,
            ),
            "<hm>a<x>(stop)",
        ),
        ("a refusal", delta(r#"{"refusal":"no"}"#), "no(stop)"),
        ("null and empty", delta(r#"{"content":null}"#) + &delta(r#"{"content":""}"#), "(stop)"),
        (
            "calls",
            delta(r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\""}}]}"#)
                + &delta(
                    r#"{"tool_calls":[{"index":0,"function":{"arguments":":\n1}"}},{"index":1,"function":{"name":"g"}}]}"#,
                ),
            r#"[f {"x":1}][g {}](stop)"#,
        ),
        (
            "a surrogate pair in two deltas",
            delta(r#"{"content":"a\ud83d"}"#) + &delta(r#"{"content":"\ude00b"}"#),
            "a😀b(stop)",
        ),
        ("half a surrogate pair", delta(r#"{"content":"a\ud83d"}"#), "a\u{fffd}(stop)"),
    ];
    for (what, deltas, expected) in table {
        assert_eq!(said(&(deltas + &finish("stop") + DONE)), expected, "{what}");
    }
}

#[test]
fn an_event_that_is_no_json_is_a_fault_that_does_not_repeat_it() {
    let (_, fault) = translate("data: hello\n\n");
    let words = fault.unwrap().to_string();
    assert_eq!(words, "the backend sent something that is not an answer: invalid character at offset 0");
}

#[test]
fn a_document_in_place_of_events_is_an_answer_too() {
    let whole = r#"{"choices":[{"message":{"content":"Hi","reasoning":"hm"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
    let pretty =
        serde_json::to_string_pretty(&serde_json::from_str::<serde_json::Value>(whole).unwrap()).unwrap();
    let lines = format!("{}\n{}\n", whole.replace("\"stop\"", "null"), whole.replace("Hi", "!"));
    for (what, text, expected) in [
        ("compact", whole.to_string(), "<hm>Hi(stop)"),
        ("pretty, behind white space", format!("  \n\n{pretty}\n"), "<hm>Hi(stop)"),
        ("no reason", whole.replace(r#","finish_reason":"stop""#, ""), "<hm>Hi(stop)"),
        ("lines of JSON", lines.clone(), "<hm>Hi<hm>!(stop)"),
    ] {
        let (lines, fault) = translate_as(&wanted(true), BodyKind::Unsaid, &[text.as_bytes()]);
        assert_eq!((summary(&lines).as_str(), fault), (expected, None), "{what}");
    }
    // Under the type of an event stream it is read line by line.
    for (text, expected) in [(whole.to_string(), "<hm>Hi(stop)"), (lines, "<hm>Hi<hm>!(stop)")] {
        let (lines, fault) = translate_as(&wanted(true), BodyKind::Events, &[text.as_bytes()]);
        assert_eq!((summary(&lines).as_str(), fault), (expected, None));
    }
}

#[test]
fn a_document_that_is_no_answer_is_a_fault() {
    for (text, expected) in [
        (r#"{"error":{"message":"Unexpected endpoint"}}"#, "Unexpected endpoint"),
        (r#"{"choices":null}"#, "the backend sent something that is not an answer: no choices"),
        (r#"{"choices":[]}"#, "the backend sent something that is not an answer: no choices"),
        (r#"{"choices":[{"message":{"content":"Hi"#, "the backend's answer ended before it was complete"),
        (r#"[{"error":{"message":"boom"}}]"#, "boom"),
        ("<html><title>Welcome</title></html>", "Welcome"),
        ("   ", "the backend's answer ended before it was complete"),
    ] {
        let (lines, fault) = translate_as(&wanted(true), BodyKind::Unsaid, &[text.as_bytes()]);
        assert_eq!((lines.as_str(), fault.unwrap().to_string().as_str()), ("", expected), "{text}");
    }
}

#[test]
fn one_object_when_no_lines_were_asked_for() {
    let document = r#"{"choices":[{"message":{"content":"Hi\n","reasoning":"hm","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}},{"id":"b","function":{"name":"g","arguments":"{}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
    let events = delta(r#"{"reasoning":"hm"}"#)
        + &delta(r#"{"content":"Hi"}"#)
        + &delta(r#"{"content":"\n"}"#)
        + &delta(
            r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f"}},{"index":1,"id":"b","function":{"name":"g"}}]}"#,
        )
        + "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n";
    let expected = r#"{"model":"m","created_at":"1970-01-01T00:00:00.000000002Z","message":{"role":"assistant","content":"Hi\n","thinking":"hm","tool_calls":[{"id":"a","function":{"index":0,"name":"f","arguments":{}}},{"id":"b","function":{"index":1,"name":"g","arguments":{}}}]},"done":true,"done_reason":"stop","total_duration":2,"load_duration":1,"prompt_eval_count":1,"prompt_eval_duration":1,"eval_count":2,"eval_duration":1}"#;
    for text in [document, &events] {
        let (object, fault) = translate_as(&wanted(false), BodyKind::Unsaid, &[text.as_bytes()]);
        assert_eq!((object.as_str(), fault), (expected, None));
    }
}

#[test]
fn thinking_that_was_not_wanted_is_left_out() {
    let wanted = Wanted { think: Think::Off, ..wanted(true) };
    let text = delta(r#"{"reasoning":"hm"}"#) + &delta(r#"{"content":"a"}"#) + &finish("stop");
    assert_eq!(summary(&translate_as(&wanted, BodyKind::Events, &[text.as_bytes()]).0), "a(stop)");
}

#[test]
fn long_deltas_are_split_into_lines_that_clients_can_buffer() {
    for letter in ["a", "é", "\u{85}", "😀", r"\n", r"\ud83d\ude00"] {
        let content = letter.repeat(300_000 / letter.len());
        let text = delta(&format!(r#"{{"content":"{content}"}}"#)) + &finish("stop");
        let (lines, _) = translate(&text);
        assert!(lines.lines().count() > 5, "{letter}");
        assert!(lines.lines().all(|line| line.len() < MAX_LINE_BYTES), "{letter}");
        let decoded: String = serde_json::from_str(&format!("\"{content}\"")).unwrap();
        assert_eq!(summary(&lines), decoded + "(stop)", "{letter}");
    }
}

#[test]
fn tokens_are_counted_where_the_backend_does_not() {
    let text = delta(r#"{"content":"a"}"#) + &delta(r#"{"content":"b"}"#) + &finish("stop");
    let (lines, _) = translate(&text);
    let last: serde_json::Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!((last["eval_count"].as_u64(), last.get("prompt_eval_count")), (Some(2), None));
}

#[test]
fn the_last_usage_wins_wherever_it_stands() {
    let with = |usage: &str| {
        format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"a\"}}}}],\"usage\":{usage}}}\n\n")
    };
    let text = with(r#"{"prompt_tokens":5,"completion_tokens":1}"#)
        + &with(r#"{"prompt_tokens":5,"completion_tokens":2}"#)
        + &with("null")
        + &finish("stop");
    let (lines, _) = translate(&text);
    let last: serde_json::Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!((last["prompt_eval_count"].as_u64(), last["eval_count"].as_u64()), (Some(5), Some(2)));
}

#[test]
fn token_probabilities_are_ollamas() {
    let wanted = Wanted { logprobs: Some(1), ..wanted(true) };
    let text = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"logprobs\":{\"content\":[{\"token\":\"a\",\"logprob\":-0.5,\"bytes\":null,\"top_logprobs\":[{\"token\":\"a\", \"logprob\":-0.5,\"bytes\":[97]}]}]}}]}\n\n".to_string() + &finish("stop");
    let (lines, _) = translate_as(&wanted, BodyKind::Events, &[text.as_bytes()]);
    let expected = r#""done":false,"logprobs":[{"token":"a","logprob":-0.5,"top_logprobs":[{"token":"a","logprob":-0.5,"bytes":[97]}]}]}"#;
    assert!(lines.lines().next().unwrap().ends_with(expected), "{lines}");
    assert!(!translate(&text).0.contains("logprobs"), "not asked for");
}
