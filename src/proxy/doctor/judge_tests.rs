//! What each judge lets pass and what it does not: the traps are those of the clients, the answers are written out.

use super::*;

fn heard(status: u16, body: &str) -> Heard {
    Heard { status, body: body.as_bytes().to_vec() }
}

type Judge = fn(&Heard) -> Result<Verdict, String>;

/// `yes`, `partly` or `no`, and the words of the reason.
fn word(judge: Judge, status: u16, body: &str) -> (&'static str, String) {
    match judge(&heard(status, body)) {
        Ok(Verdict::Works) => ("yes", String::new()),
        Ok(Verdict::Partly(finding)) => ("partly", finding.why),
        Ok(Verdict::Fails(finding)) => ("no", finding.why),
        Err(why) => ("no", why),
    }
}

#[track_caller]
fn assert_judged(judge: Judge, cases: &[(&str, &str, &str)]) {
    for (body, expected, why) in cases {
        let (worth, reason) = word(judge, 200, body);
        assert_eq!(worth, *expected, "{reason}: {body}");
        assert!(reason.contains(why), "{reason:?} does not say {why:?}: {body}");
    }
}

const LINE: &str = r#"{"message":{"role":"assistant","content":"yes"},"done":false}"#;
const LAST: &str = r#"{"created_at":"2026-01-01T00:00:00Z","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","total_duration":1,"prompt_eval_count":1,"eval_count":1}"#;

#[test]
fn brackets_without_end_are_no_json() {
    let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    assert_eq!(word(whole, 200, &deep).1, "the answer is not a JSON object");
    assert_eq!(word(chatted, 200, &deep).1, "a line of the answer is not JSON");
    assert_eq!(word(whole, 500, &deep).1.len(), "status 500: ".len() + 300);
}

#[test]
fn an_error_is_told_in_its_own_words_whatever_its_shape() {
    for (status, body, expected) in [
        (404, r#"{"error":"model 'm' not found"}"#, "status 404: model 'm' not found"),
        (502, r#"{"error":{"message":"no\u001b[2J way"}}"#, "status 502: no [2J way"),
        (500, "plain words", "status 500: plain words"),
        (500, "", "status 500"),
        (200, r#"{"error":"after all"}"#, "after all"),
        (200, "[]", "the answer is not a JSON object"),
    ] {
        assert_eq!(word(whole, status, body), ("no", expected.to_owned()), "{body}");
        let (worth, reason) = word(openai_stream, status, body);
        assert_eq!(worth, "no", "{reason}");
    }
}

#[test]
fn versions_are_what_clients_compare() {
    assert_judged(
        version,
        &[
            (r#"{"version":"0.17.6"}"#, "yes", ""),
            (r#"{"version":"0.6.4"}"#, "yes", ""),
            (r#"{"version":"0.6.3"}"#, "no", "0.6.4"),
            (r#"{"version":"0.17"}"#, "no", "three numbers"),
            (r#"{"version":"0.17.6-rc1"}"#, "no", "three numbers"),
            ("{}", "no", "no version"),
        ],
    );
}

#[test]
fn a_list_of_models_has_what_every_client_reads() {
    let model = r#"{"name":"m","model":"m","digest":"0123456789ab","modified_at":"2026-01-01T00:00:00Z","size":0,"details":{}}"#;
    let list = |model: &str| format!(r#"{{"models":[{model}]}}"#);
    assert_eq!(word(tags, 200, &list(model)).0, "yes");
    for (without, with, why) in [
        (r#""model":"m","#, "", "model"),
        ("0123456789ab", "0123456789a", "digest"),
        ("2026-01-01T00:00:00Z", "", "modified_at"),
        (r#""size":0"#, r#""size":"0""#, "size"),
        (r#""details":{}"#, r#""details":[]"#, "details"),
    ] {
        let (worth, reason) = word(tags, 200, &list(&model.replace(without, with)));
        assert_eq!((worth, reason), ("no", format!("m has no {why}")));
    }
    assert_judged(
        tags,
        &[(r#"{"models":[]}"#, "no", "lists no models"), (r#"{"models":null}"#, "no", "no list")],
    );
}

#[test]
fn a_model_says_what_it_can_and_how_much_it_takes() {
    let full = r#"{"capabilities":["completion","tools"],"model_info":{"general.architecture":"q","q.context_length":8192}}"#;
    let bare = r#"{"capabilities":["completion"],"model_info":{"general.architecture":"q"}}"#;
    assert_judged(show, &[(full, "yes", ""), (bare, "yes", "")]);
    assert_judged(
        show,
        &[
            (r#"{"model_info":{"general.architecture":"q"}}"#, "no", "capabilities"),
            (r#"{"capabilities":[]}"#, "no", "model_info"),
            (r#"{"capabilities":[],"model_info":{}}"#, "no", "general.architecture"),
        ],
    );
    assert_judged(says_tools, &[(full, "yes", ""), (bare, "partly", "tools")]);
    assert_judged(says_context, &[(full, "yes", ""), (bare, "partly", "context length")]);
}

#[test]
fn a_stream_ends_in_one_last_line() {
    let stream = |lines: &[&str]| lines.join("\n") + "\n";
    assert_judged(
        chatted,
        &[
            (&stream(&[LINE, LINE, LAST]), "yes", ""),
            (LAST, "yes", ""),
            (&stream(&[LINE]), "no", "last line"),
            (&stream(&[LAST, LAST]), "no", "before the last"),
            (&stream(&[LINE, "", LAST]), "no", "not JSON"),
            (&stream(&[LINE, r#"{"error":"it broke"}"#]), "no", "it broke"),
            (&stream(&[&LINE.replace("\"yes\"", "null"), LAST]), "no", "no text"),
            (&stream(&[LINE, &LAST.replace("\"stop\"", "\"load\"")]), "no", "done_reason is load"),
            (
                &stream(&[LINE, &LAST.replace("\"total_duration\":1", "\"total_duration\":1.5")]),
                "no",
                "whole",
            ),
            ("", "no", "not JSON"),
        ],
    );
    assert_judged(
        counted,
        &[
            (&stream(&[LINE, LAST]), "yes", ""),
            (&stream(&[LINE, &LAST.replace(",\"eval_count\":1", "")]), "partly", "no token counts"),
        ],
    );
    let long = LINE.replace("yes", &"y".repeat(128 << 10));
    assert_judged(
        short_lines,
        &[(&stream(&[LINE, LAST]), "yes", ""), (&stream(&[&long, LAST]), "no", "128 KiB")],
    );
    let generated_line = r#"{"response":"yes","done":false}"#;
    let generated_last = LAST.replace(r#""message":{"role":"assistant","content":""}"#, r#""response":"""#);
    assert_judged(
        generated,
        &[(&stream(&[generated_line, &generated_last]), "yes", ""), (LAST, "no", "no text")],
    );
}

#[test]
fn a_tool_is_called_whole_or_not_at_all() {
    let call = |arguments: &str| {
        let call =
            format!(r#""content":"","tool_calls":[{{"function":{{"name":"f","arguments":{arguments}}}}}]"#);
        [LINE.replace(r#""content":"yes""#, &call).as_str(), LAST].join("\n")
    };
    assert_judged(
        tool_call,
        &[
            (&call(r#"{"city":"Toronto"}"#), "yes", ""),
            (&call(r#""{}""#), "no", "not an object"),
            (&[LINE, LAST].join("\n"), "partly", "in words"),
        ],
    );
}

#[test]
fn an_answer_by_a_schema_keeps_to_it() {
    let answer = |content: &str| LAST.replace(r#""content":"""#, &format!(r#""content":"{content}""#));
    assert_judged(
        by_schema,
        &[
            (&answer(r#"{\"legs\": 8}"#), "yes", ""),
            (&answer("A spider has eight legs."), "partly", "schema"),
            (&answer(r#"{\"legs\": \"8\"}"#), "partly", "schema"),
        ],
    );
}

#[test]
fn an_openai_stream_has_chunks_and_an_end() {
    assert_judged(
        openai_stream,
        &[
            ("data: {\"choices\":[]}\n\ndata: [DONE]\n\n", "yes", ""),
            ("data: [DONE]\n\n", "no", "no chunk"),
            ("data: {\"choices\":[]}\n\n", "no", "[DONE]"),
            ("data: {\"error\":{\"message\":\"it broke\"}}\n\n", "no", "it broke"),
            ("data: {\n\n", "no", "not JSON"),
        ],
    );
    let (_, told) = word(openai_stream, 200, "data: {\"error\":{\"message\":\"no\\u001b[2J way\"}}\n\n");
    assert_eq!(told, "no [2J way", "nothing steers the terminal");
    let (_, told) = word(openai_stream, 200, &format!("data: {}\n\n", "[".repeat(1_000_000)));
    assert_eq!(told, "a chunk of the stream is not JSON", "and nothing ends the program");
}

#[test]
fn vectors_are_as_many_as_the_texts_and_of_unit_length() {
    assert_judged(
        embedded,
        &[
            (r#"{"embeddings":[[0.6,0.8],[1,0]]}"#, "yes", ""),
            (r#"{"embeddings":[[0.6,0.8]]}"#, "no", "1 vectors"),
            (r#"{"embeddings":[[3,4],[1,0]]}"#, "no", "length 5"),
            (r#"{"embeddings":[["a"],[1]]}"#, "no", "numbers"),
            ("{}", "no", "no embeddings"),
        ],
    );
}

#[test]
fn the_server_is_alive_and_says_so() {
    assert_judged(greeting, &[("Ollama is running", "yes", ""), ("nginx", "no", "Ollama is running")]);
    assert_eq!(word(is_ok, 503, "").0, "no");
    assert_judged(running, &[(r#"{"models":[]}"#, "yes", ""), ("{}", "no", "models")]);
    assert_judged(
        loaded,
        &[(r#"{"done_reason":"load"}"#, "yes", ""), (r#"{"done_reason":"stop"}"#, "no", "load")],
    );
}
