//! The error table before the first line: whatever a backend does wrong there is a status with a text. What it does
//! wrong later is in `broken.rs`. (Contract 1.3, 5.5; dialects E8 to E16; fault N15.)

use crate::backend::{Backend, Peer, Request};
use crate::chunks::{delta, role};
use crate::client::{content, error_of};
use crate::proxy::{Proxy, chat};
use serde_json::json;

/// How a backend fails.
pub(crate) struct Failure {
    pub(crate) name: &'static str,
    pub(crate) answer: Box<dyn Fn(&mut Peer) + Send + Sync>,
    pub(crate) status: u16,
    pub(crate) says: &'static str,
}

pub(crate) fn failure(
    name: &'static str,
    status: u16,
    says: &'static str,
    answer: impl Fn(&mut Peer) + Send + Sync + 'static,
) -> Failure {
    Failure { name, answer: Box::new(answer), status, says }
}

/// A backend that answers with this status and this body.
fn refusal(name: &'static str, theirs: u16, body: &'static str, ours: u16, says: &'static str) -> Failure {
    failure(name, ours, says, move |peer| peer.respond(theirs, &[("content-type", "application/json")], body))
}

/// A stream that begins well and goes on so.
fn stream(name: &'static str, status: u16, says: &'static str, events: &'static [&'static str]) -> Failure {
    failure(name, status, says, move |peer| {
        peer.begin();
        peer.event(&role());
        for event in events {
            peer.chunk(format!("data: {event}\n\n"));
        }
        peer.write("0\r\n\r\n");
    })
}

/// Refusals whose status alone says too little: the body tells what they are about (rows E11 to E15).
fn refusals_by_their_words() -> Vec<Failure> {
    let url = "check OPENAI_API_BASE_URL";
    let missing = "model 'm' not found";
    let length = r#"{"error":{"message":"This model's maximum context length is 8 tokens","code":"context_length_exceeded"}}"#;
    vec![
        refusal("length", 400, length, 400, "maximum context length"),
        refusal("length 413", 413, length, 400, "maximum context length"),
        refusal(
            "length llama.cpp",
            500,
            r#"{"error":{"code":500,"message":"the request exceeds the available context size","type":"server_error"}}"#,
            400,
            "context size",
        ),
        refusal("402", 402, r#"{"error":{"message":"Insufficient credits","code":402}}"#, 402, "credits"),
        refusal(
            "403 page",
            403,
            "<html><head><title>Attention Required!</title></head></html>",
            502,
            "the backend forbids this to the proxy's key (OPENAI_API_KEY): Attention Required!",
        ),
        refusal(
            "403 model",
            403,
            r#"{"error":{"message":"Project p does not have access","code":"model_not_found"}}"#,
            404,
            missing,
        ),
        refusal(
            "400 key of Google",
            400,
            r#"[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT"}}]"#,
            502,
            "the backend refused the proxy's key (OPENAI_API_KEY): API key not valid",
        ),
        refusal(
            "404 OpenRouter model",
            404,
            r#"{"error":{"message":"No endpoints found for a/b.","code":404}}"#,
            404,
            missing,
        ),
        refusal(
            "404 OpenRouter pictures",
            404,
            r#"{"error":{"message":"No endpoints found that support image input","code":404}}"#,
            400,
            "No endpoints found that support image input",
        ),
        refusal(
            "404 OpenAI completions",
            404,
            r#"{"error":{"message":"This is not a chat model and thus not supported in the v1/chat/completions endpoint.","param":"model","code":null}}"#,
            400,
            "This is not a chat model",
        ),
        refusal(
            "404 Azure",
            404,
            r#"{"error":{"code":"DeploymentNotFound","message":"The API deployment does not exist."}}"#,
            404,
            missing,
        ),
        refusal(
            "400 OpenRouter model",
            400,
            r#"{"error":{"message":"a/b is not a valid model ID","code":400}}"#,
            404,
            missing,
        ),
        refusal("400 DeepSeek model", 400, r#"{"error":{"message":"Model Not Exist"}}"#, 404, missing),
        refusal("404 doubled path", 404, r#"{"error":{"message":"Invalid URL (POST /v1/v1/x)"}}"#, 502, url),
        refusal("407", 407, "", 502, "Proxy Authentication Required"),
        refusal(
            "503 llama.cpp loads",
            503,
            r#"{"error":{"message":"Loading model","type":"unavailable_error","code":503}}"#,
            503,
            "Loading model",
        ),
        refusal(
            "529 Anthropic",
            529,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
            503,
            "Overloaded",
        ),
        refusal(
            "200 LM Studio path",
            200,
            r#"{"error":"Unexpected endpoint or method. (POST /x)"}"#,
            502,
            url,
        ),
        refusal("200 model", 200, r#"{"error":{"message":"no","code":"model_not_found"}}"#, 404, missing),
        refusal("200 length", 200, length, 400, "maximum context length"),
        refusal(
            "200 key",
            200,
            r#"{"error":{"message":"User not found.","code":401}}"#,
            502,
            "the backend refused the proxy's key (OPENAI_API_KEY): User not found.",
        ),
        failure("named error event", 502, "boom", |peer| {
            peer.begin();
            peer.chunk("event: error\ndata: {\"message\":\"boom\"}\n\n");
            peer.done();
        }),
        stream(
            "error event about the model",
            404,
            missing,
            &[r#"{"error":{"message":"No endpoints found for a/b.","code":404}}"#],
        ),
    ]
}

/// Each shape of row E11 with a 400, and the text in it.
const SHAPES: &[(&str, &str)] = &[
    (r#"{"error":{"message":"why","type":"invalid_request_error","param":null,"code":null}}"#, "why"),
    (r#"{"object":"error","message":"why","type":"BadRequestError","param":null,"code":400}"#, "why"),
    (r#"{"error":{"message":"why","innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#, "why"),
    (r#"{"error":"why","error_type":"validation"}"#, "why"),
    (r#"{"error":"why"}"#, "why"),
    (r#"{"message":"why"}"#, "why"),
    (r#"{"detail":"why"}"#, "why"),
    (r#"{"detail":[{"type":"missing","loc":["body","x"],"msg":"why"}]}"#, "why"),
    (
        r#"{"object":"error","message":{"detail":[{"type":"x","loc":["body"],"msg":"why"}]},"type":"y"}"#,
        "why",
    ),
    (r#"[{"error":{"code":400,"message":"why","status":"INVALID_ARGUMENT"}}]"#, "why"),
    (r#"{"type":"about:blank","title":"Bad Request","status":400,"detail":"why"}"#, "why"),
    (r#"{"code":400,"message":"why","type":"invalid_request_error"}"#, "why"),
    (
        r#"{"error":{"message":"Provider returned error","code":400,"metadata":{"raw":"{\"error\":{\"message\":\"why\"}}","provider_name":"P"}}}"#,
        "why",
    ),
    ("why", "why"),
    ("\"why\"", "why"),
    ("<!DOCTYPE html>\n<html><head>\n<title>why</title></head><body>nginx</body></html>", "why"),
    ("<html><body><h1>why</h1></body></html>", "why"),
    ("", "Bad Request"),
    ("{}", "Bad Request"),
    ("null", "null"),
];

#[test]
fn e11_every_shape_of_an_error_body_is_its_text_and_nothing_else() {
    let backend = Backend::new(|request, peer| {
        peer.respond(400, &[], SHAPES[request.prompt().parse::<usize>().unwrap()].0);
    });
    let proxy = Proxy::before(&backend);
    for (at, (body, text)) in SHAPES.iter().enumerate() {
        let answer = proxy.chat(&at.to_string());
        assert_eq!((answer.status(), &*answer.error()), (400, *text), "{body}");
    }
}

fn refusals() -> Vec<Failure> {
    let key = "the proxy's key";
    let mut failures = vec![
        refusal("400", 400, r#"{"error":{"message":"too long","type":"t"}}"#, 400, "too long"),
        refusal("400 text", 400, r#"{"error":"too long"}"#, 400, "too long"),
        refusal("401", 401, r#"{"error":{"message":"bad key"}}"#, 502, key),
        refusal("403", 403, r#"{"error":{"message":"not yours"}}"#, 502, "not yours"),
        refusal(
            "404 model",
            404,
            r#"{"error":{"message":"no","code":"model_not_found"}}"#,
            404,
            "model 'm' not found",
        ),
        refusal(
            "404 vllm",
            404,
            r#"{"object":"error","message":"The model `m` does not exist."}"#,
            404,
            "model 'm' not found",
        ),
        refusal("404 path", 404, r#"{"detail":"Not Found"}"#, 502, "OPENAI_API_BASE_URL"),
        refusal("404 empty", 404, "", 502, "OPENAI_API_BASE_URL"),
        refusal("405", 405, "", 502, "OPENAI_API_BASE_URL"),
        refusal("408", 408, "", 504, "Request Timeout"),
        refusal("413", 413, r#"{"error":"too big"}"#, 413, "too big"),
        refusal("422", 422, r#"{"detail":[{"loc":["body"],"msg":"field required"}]}"#, 400, "field required"),
        refusal("429", 429, r#"{"error":{"message":"slow down"}}"#, 429, "slow down"),
        refusal("500", 500, r#"{"error":{"message":"boom"}}"#, 500, "boom"),
        refusal("500 empty", 500, "", 500, "Internal Server Error"),
        refusal("503", 503, r#"{"message":"loading"}"#, 503, "loading"),
        refusal("529", 529, r#"[{"error":{"message":"overloaded"}}]"#, 503, "overloaded"),
        refusal(
            "html",
            502,
            "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>",
            502,
            "502 Bad Gateway",
        ),
        refusal("plain", 500, "upstream connect error", 500, "upstream connect error"),
        refusal("odd status", 799, r#"{"error":"x"}"#, 502, "x"),
        refusal("200 error", 200, r#"{"error":{"message":"quota","code":429}}"#, 429, "quota"),
        refusal("200 error word", 200, r#"{"error":"Unexpected endpoint"}"#, 502, "Unexpected endpoint"),
        refusal("200 no choices", 200, r#"{"choices":null}"#, 502, "choices"),
        refusal("200 empty", 200, "", 502, "ended before"),
        refusal("200 html", 200, "<html><title>Sign in</title></html>", 502, "Sign in"),
        refusal("200 half", 200, r#"{"choices":[{"message":{"content":"a"#, 502, "ended before"),
        failure("redirect", 502, "the backend redirects to http://127.0.0.1:9;", |peer| {
            peer.respond(308, &[("location", "http://127.0.0.1:9/elsewhere?key=secret")], "");
        }),
        failure("gzip", 502, "gzip", |peer| {
            let head = [("content-type", "text/event-stream"), ("content-encoding", "gzip")];
            peer.respond(200, &head, [0x1F, 0x8B, 8, 0, 0, 0, 0, 0]);
        }),
        failure("dies before its head", 502, "", Peer::close),
        failure("breaks before its head", 502, "", Peer::reset),
        failure("half a head", 502, "", |peer| {
            peer.write("HTTP/1.1 200 OK\r\ncontent-ty");
            peer.close();
        }),
        failure("no http", 502, "", |peer| {
            peer.write("SSH-2.0-OpenSSH_9.6\r\n");
            peer.close();
        }),
        failure("dies behind its head", 502, "ended before", |peer| {
            peer.begin();
            peer.close();
        }),
        failure("dies behind the role", 502, "ended before", |peer| {
            peer.begin();
            peer.event(&role());
            peer.close();
        }),
        failure("breaks behind the role", 502, "ended before", |peer| {
            peer.begin();
            peer.event(&role());
            peer.reset();
        }),
        stream("ends behind the role", 502, "ended before", &[]),
        stream("error event", 429, "wait", &[r#"{"error":{"message":"wait","code":429}}"#]),
        stream(
            "error event in a choice",
            502,
            "bad",
            &[r#"{"choices":[{"error":{"message":"bad","code":502},"finish_reason":"error"}]}"#],
        ),
        stream("error event text", 502, "crashed", &[r#"{"error":"crashed"}"#]),
        stream("error event flat", 502, "crashed", &[r#"{"object":"error","message":"crashed"}"#]),
        stream("error event detail", 502, "crashed", &[r#"{"detail":"crashed"}"#]),
        stream("no json", 502, "not an answer", &["{choices: oops}"]),
    ];
    failures.extend(refusals_by_their_words());
    failures
}

#[test]
fn check_12_every_failure_before_the_first_line_is_a_status_with_a_text() {
    for (streams, content_type) in [(true, "application/json"), (false, "application/json; charset=utf-8")] {
        let known = refusals();
        let backend = Backend::new(move |request: &Request, peer: &mut Peer| {
            let prompt = request.prompt();
            let failure = known.iter().find(|failure| failure.name == prompt).unwrap();
            (failure.answer)(peer);
        });
        let proxy = Proxy::with(&backend, &[("OPENAI_API_KEY", "sk-test")]);
        let mut wrong = Vec::new();
        for (at, failure) in refusals().iter().enumerate() {
            let mut request = chat(failure.name);
            request["stream"] = json!(streams);
            let answer = proxy.post("/api/chat", &request);
            let found = (answer.status(), answer.head.content_type());
            if answer.status() == 200 {
                wrong.push(format!("{}: {}", failure.name, answer.text()));
                continue;
            }
            let error = answer.error();
            if found != (failure.status, content_type) || !error.contains(failure.says) {
                wrong.push(format!(
                    "{}: {found:?} {error}, expected {} {}",
                    failure.name, failure.status, failure.says
                ));
            }
            assert_eq!(backend.posts().len(), at + 1, "{} was sent once", failure.name);
        }
        assert!(wrong.is_empty(), "stream: {streams}: {wrong:#?}");
    }
}

#[test]
fn e14_retry_after_goes_along_in_whole_seconds() {
    let google = r#"[{"error":{"code":429,"message":"slow down","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.07s"}]}}]"#;
    let plain = r#"{"error":{"message":"slow down","code":429}}"#;
    let backend = Backend::new(move |request, peer| {
        let prompt = request.prompt();
        let (name, value) = prompt.split_once(' ').unwrap();
        match (name, value) {
            ("google", status) => peer.respond(status.parse().unwrap(), &[], google),
            ("google-event", _) => {
                peer.begin();
                peer.chunk(format!("data: {google}\n\n"));
                peer.done();
            }
            _ => peer.respond(429, &[(name, value)], plain),
        }
    });
    let proxy = Proxy::before(&backend);
    let table = [
        ("retry-after 7", Some("7")),
        ("Retry-After 1.2", Some("2")),
        ("retry-after-ms 250", Some("1")),
        ("retry-after -1", None),
        ("retry-after 0", None),
        ("x-ratelimit-reset-tokens 6m0s", Some("360")),
        ("google 429", Some("35")),
        ("google 200", Some("35")),
        ("google-event x", Some("35")),
        ("x-other 5", None),
    ];
    for (header, expected) in table {
        let answer = proxy.chat(header);
        assert_eq!((answer.status(), answer.head.header("retry-after")), (429, expected), "{header}");
        assert_eq!(answer.error(), "slow down", "{header}");
    }
    assert_eq!(backend.posts().len(), table.len(), "nothing is asked again");
}

#[test]
fn check_12_a_backend_that_cannot_be_reached_is_a_502_that_says_why() {
    let closed = crate::proxy::nobody();
    // Longer than a label may be: no resolver asks anyone about it.
    let name = format!("{}.invalid", "a".repeat(70));
    for (host, why) in [(closed.to_string(), "connection refused"), (name, "")] {
        let url = format!("http://{host}/v1");
        let proxy = Proxy::start(&[("OPENAI_API_BASE_URL", &url), ("MAX_RETRIES", "0")]);
        let answers =
            [proxy.chat("q"), proxy.get("/api/tags"), proxy.post("/api/show", &json!({"model": "m"}))];
        for answer in answers {
            let error = answer.error();
            assert_eq!(answer.status(), 502, "{host}: {error}");
            assert!(error.contains(&host) && error.contains(why), "{error}");
        }
        assert_eq!(proxy.get("/").status(), 200, "the proxy itself is well");
    }
}

#[test]
fn a_silent_backend_is_a_504_and_silence_behind_the_first_line_is_an_error_line() {
    let backend = Backend::new(|request, peer| {
        match request.prompt().as_str() {
            "head" => {}
            "role" => {
                peer.begin();
                peer.event(&role());
            }
            _ => {
                peer.begin();
                peer.event(&delta("Hello"));
            }
        }
        assert!(peer.wait_closed(), "the proxy gives up");
    });
    let proxy = Proxy::with(&backend, &[("REQUEST_TIMEOUT", "1")]);
    std::thread::scope(|scope| {
        for prompt in ["head", "role"] {
            let proxy = &proxy;
            scope.spawn(move || {
                let answer = proxy.chat(prompt);
                assert_eq!(
                    (answer.status(), answer.head.content_type()),
                    (504, "application/json"),
                    "{prompt}"
                );
                assert!(answer.error().contains("REQUEST_TIMEOUT"), "{prompt}");
            });
        }
        scope.spawn(|| {
            let lines = proxy.chat("line").lines();
            assert_eq!(content(&lines[..1]), "Hello");
            assert!(error_of(&lines[1]).contains("REQUEST_TIMEOUT"));
        });
    });
    backend.wait_until("all were given up", |seen| seen.closed.len() == 3);
}

#[test]
fn words_that_the_ollama_command_hides_are_never_passed_on() {
    let backend = Backend::new(|request, peer| {
        let error = json!({"error": {"message": "upstream error from the provider", "code": 502}});
        match request.prompt().as_str() {
            "status" => peer.json(502, &error),
            "event" => {
                peer.begin();
                peer.event(&error);
                peer.done();
            }
            _ => {
                peer.begin();
                peer.event(&delta("Hello"));
                peer.event(&error);
                peer.done();
            }
        }
    });
    let proxy = Proxy::before(&backend);
    let leaks: Vec<_> = ["status", "event", "line"]
        .into_iter()
        .filter(|prompt| proxy.chat(prompt).text().contains("upstream error"))
        .collect();
    assert!(
        leaks.is_empty(),
        "{leaks:?}: `ollama run` shows none of a message with \"upstream error\" in it"
    );
}

#[test]
fn a_backend_that_fills_in_no_middle_is_told_of_in_ollamas_words() {
    let backend = Backend::new(|_, peer| {
        peer.json(400, &json!({"error": {"message": "suffix is not currently supported", "code": 400}}));
    });
    let proxy = Proxy::before(&backend);
    let mut request = json!({"model": "M:7b", "prompt": "a", "suffix": "b"});
    let expected = "\"M:7b\" does not support insert: suffix is not currently supported";
    for stream in [true, false] {
        request["stream"] = json!(stream);
        let answer = proxy.post("/api/generate", &request);
        assert_eq!((answer.status(), answer.error()), (400, expected.to_string()));
    }
    let answer = proxy.post("/api/generate", &json!({"model": "M", "prompt": "a", "raw": true}));
    assert!(!answer.error().contains("insert"), "it was not asked to: {}", answer.error());
}
