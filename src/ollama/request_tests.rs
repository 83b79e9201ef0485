//! What clients send, and what is wrong with what some send.

use super::*;

fn chat(json: &str) -> Result<ChatRequest<'_>, RequestError> {
    ChatRequest::parse(json.as_bytes())
}

fn chat_error(json: &str) -> String {
    chat(json).unwrap_err().to_string()
}

#[test]
fn defaults_are_ollamas() {
    let request = chat(r#"{"model":"M"}"#).unwrap();
    assert_eq!(request.common.model, "M");
    assert!(request.common.stream);
    assert!(request.messages.is_empty() && request.tools.is_none());
    assert_eq!(request.common.think, Think::Unset);
    assert_eq!(request.common.format, Format::Text);
    assert_eq!(request.common.keep_alive, None);
}

#[test]
fn null_and_empty_values_are_absent_ones() {
    let json = r#"{"model":"m","messages":null,"tools":[],"options":null,"format":"","stream":null,"keep_alive":null,
        "think":null,"logprobs":null,"top_logprobs":null}"#;
    let request = chat(json).unwrap();
    assert!(request.messages.is_empty() && request.tools.is_none() && request.common.stream);
    let json = r#"{"model":"m","messages":[{"role":"User","content":null,"images":null,"tool_calls":null}]}"#;
    let message = &chat(json).unwrap().messages[0];
    assert_eq!((message.role.as_ref(), message.content.raw()), ("user", &b""[..]));
}

#[test]
fn names_match_in_any_case_and_the_last_wins() {
    let request = chat(r#"{"MODEL":"a","Model":"b","STREAM":false} trailing bytes"#).unwrap();
    assert_eq!((request.common.model.as_ref(), request.common.stream), ("b", false));
}

#[test]
fn content_is_borrowed_still_escaped() {
    let body = br#"{"model":"m","messages":[{"role":"user","content":"a\n\u00e9"}]}"#;
    let request = ChatRequest::parse(body).unwrap();
    let raw = request.messages[0].content.raw();
    assert_eq!(raw, br"a\n\u00e9");
    assert!(body.as_ptr_range().contains(&raw.as_ptr()));
}

#[test]
fn history_with_calls_and_results() {
    let json = r#"{"model":"m","messages":[
        {"role":"assistant","tool_calls":[{"id":"c1","function":{"name":"f","arguments":{"b":1,"a":2}}},{"function":{"name":"g"}}]},
        {"role":"tool","content":"r","tool_name":"f","tool_call_id":"c1"}]}"#;
    let request = chat(json).unwrap();
    let calls = &request.messages[0].tool_calls;
    assert_eq!(calls[0].arguments.unwrap().bytes(), br#"{"b":1,"a":2}"#);
    assert!(calls[1].arguments.is_none() && calls[1].id.is_empty());
    assert_eq!(request.messages[1].tool_name.raw(), b"f");
}

#[test]
fn faults_name_the_field_and_the_way_out() {
    let table = [
        ("", "missing request body"),
        (" \n", "missing request body"),
        ("{}", "model is required"),
        (r#"{"model":""}"#, "model is required"),
        ("[]", "the request body: expected an object, found array"),
        (r#"{"model":"m""#, "the request body is not valid JSON: unexpected end of JSON input at offset 12"),
        (r#"{"model":1}"#, "model: expected a string, found number"),
        (r#"{"model":"a\nb"}"#, "invalid model name"),
        (r#"{"model":"m","messages":{}}"#, "messages: expected an array, found object"),
        (r#"{"model":"m","messages":[1]}"#, "messages[0]: expected an object, found number"),
        (
            r#"{"model":"m","messages":[{},{"content":[]}]}"#,
            "messages[1].content: expected a string, found array",
        ),
        (
            r#"{"model":"m","messages":[{"tool_calls":[{"function":{"arguments":[]}}]}]}"#,
            "messages[0].tool_calls[0].function.arguments: expected an object, found array",
        ),
        (r#"{"model":"m","stream":"yes"}"#, "stream: expected a boolean, found string"),
        (
            r#"{"model":"m","format":"xml"}"#,
            "invalid format: \"xml\"; expected \"json\" or a valid JSON Schema object",
        ),
        (
            r#"{"model":"m","format":[]}"#,
            "invalid format: array; expected \"json\" or a valid JSON Schema object",
        ),
        (
            r#"{"model":"m","think":"much"}"#,
            "invalid think value: \"much\" (must be \"high\", \"medium\", \"low\", \"max\", true, or false)",
        ),
        (r#"{"model":"m","top_logprobs":21}"#, "top_logprobs must be between 0 and 20"),
        (r#"{"model":"m","top_logprobs":-1}"#, "top_logprobs must be between 0 and 20"),
        (r#"{"model":"m","options":{"seed":"x"}}"#, "options.seed: expected an integer, found string"),
    ];
    for (json, expected) in table {
        assert_eq!(chat_error(json), expected, "{json}");
    }
}

#[test]
fn a_missing_model_is_404_on_generate_only() {
    let error = GenerateRequest::parse(b"{}").unwrap_err();
    assert_eq!((error.to_string().as_str(), error.is_not_found), ("model '' not found", true));
    assert!(!chat("{}").unwrap_err().is_not_found);
}

#[test]
fn raw_excludes_what_shapes_the_prompt() {
    let parse = |json: &'static str| GenerateRequest::parse(json.as_bytes());
    for json in [
        r#"{"model":"m","prompt":"p","raw":true,"system":"s"}"#,
        r#"{"model":"m","prompt":"p","raw":true,"template":"t"}"#,
        r#"{"model":"m","prompt":"p","raw":true,"context":[1]}"#,
    ] {
        let error = parse(json).unwrap_err().to_string();
        assert_eq!(error, "raw mode does not support template, system, or context", "{json}");
    }
    assert!(parse(r#"{"model":"m","prompt":"p","raw":true,"context":[],"system":"","template":""}"#).is_ok());
}

#[test]
fn show_takes_model_before_name() {
    let show =
        |json: &'static str| ShowRequest::parse(json.as_bytes()).map(|request| request.model.into_owned());
    assert_eq!(show(r#"{"name":"a"}"#).unwrap(), "a");
    assert_eq!(show(r#"{"model":"","name":"a"}"#).unwrap(), "a");
    assert_eq!(show(r#"{"model":"m","name":"a"}"#).unwrap(), "m");
    assert_eq!(show("{}").unwrap_err().to_string(), "model is required");
}

#[test]
fn more_items_than_any_conversation_has_are_refused_under_the_name_of_their_list() {
    let most = Room::MOST;
    let many = |item: &str, count: usize| vec![item; count].join(",");
    let with = |messages: String| format!(r#"{{"model":"m","messages":[{messages}]}}"#);
    let message = |list: &str, item: &str, count| format!(r#"{{"{list}":[{}]}}"#, many(item, count));
    for (body, refused) in [
        (with(many("{}", most)), None),
        (with(many("{}", most + 1)), Some("messages")),
        (with(message("images", "\"\"", most - 1)), None),
        (with(message("images", "\"\"", most)), Some("messages[0].images")),
        (with(message("tool_calls", "{}", most)), Some("messages[0].tool_calls")),
        // The lists share one room.
        (with(many(&message("tool_calls", "{}", most / 4 - 1), 4)), None),
        (with(many(&message("tool_calls", "{}", most / 4), 4)), Some("messages[3].tool_calls")),
    ] {
        let error = ChatRequest::parse(body.as_bytes()).err().map(|error| error.to_string());
        let expected = refused
            .map(|field| format!("{field}: more than 32768 messages, images and tool calls in one request"));
        assert_eq!(error, expected);
    }
    let images = |count| format!(r#"{{"model":"m","images":[{}]}}"#, many("\"\"", count));
    assert!(GenerateRequest::parse(images(most).as_bytes()).is_ok());
    let error = GenerateRequest::parse(images(most + 1).as_bytes()).unwrap_err().to_string();
    assert!(error.starts_with("images: more than 32768 "), "{error}");
}

#[test]
fn what_is_no_json_is_told_before_a_field_of_another_type() {
    for json in [
        r#"{"model":1,"messages":[}"#,
        r#"{"model":"m","messages":[{"role":2}],"x":"#,
        r#"{"model":"m","messages":[{"images":"x"}"#,
    ] {
        assert!(chat_error(json).contains("not valid JSON"), "{json}: {}", chat_error(json));
    }
}

#[test]
fn fields_that_are_not_read_are_passed_over_at_every_depth() {
    let json = r#"{"x":[{"model":"n"}],"messages":[{"y":{"content":"n"},"role":"user","content":"a","z":[1]},
        {"role":"assistant","tool_calls":[{"type":"function","function":{"v":[{}],"name":"f"},"w":{}}]}],"model":"m"}"#;
    let request = chat(json).unwrap();
    assert_eq!(request.common.model, "m");
    assert_eq!(request.messages[0].content.raw(), b"a");
    assert_eq!(request.messages[1].tool_calls[0].name.raw(), b"f");
}
