//! The exchanges that are measured: what backends stream, what clients ask, and the way both take through the core.
//!
//! One set for three questions: the benches time it, `tests/count` counts its instructions, `tests/alloc.rs` its
//! allocations. Everything here is made of constants, so that it is the same bytes on every machine.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "each user takes a part of it; it stops at what is wrong"
)]

use bytes::{Bytes, BytesMut};
use ollama_openai_proxy::ollama::{ChatRequest, EmbedEndpoint, EmbedRequest, Endpoint, Think, Timestamp};
use ollama_openai_proxy::openai::Dialect;
use ollama_openai_proxy::translate::{
    Answering, BodyKind, EmbedTranslator, NamedModel, StreamTranslator, ThinkTags, Wanted, write_chat,
    write_embed,
};
use std::fmt::Write;
use std::time::Duration;

/// One recorded event of each kind of backend, and the text in it.
pub(crate) const EVENTS: [(&str, &str, &str); 5] = [
    ("openai", include_str!("../events/openai.json"), " molecules"),
    ("vllm", include_str!("../events/vllm.json"), " scatter"),
    ("llama_cpp", include_str!("../events/llama_cpp.json"), " light"),
    ("openrouter", include_str!("../events/openrouter.json"), " short"),
    ("deepseek", include_str!("../events/deepseek.json"), r"\u4f60\u597d\n"),
];

/// Texts as models cut them.
const TEXTS: [&str; 16] = [
    "The",
    " sky",
    " is",
    " blue",
    " because",
    " mole",
    "cules",
    " scatter",
    ",",
    " \\\"short\\\"",
    " wave",
    "lengths",
    ".",
    "\\n\\n",
    " caf\u{e9}",
    " \\u4f60",
];

/// Of a stream that is measured.
pub(crate) const TOKENS: usize = 1000;

/// The model in every request here.
pub(crate) const MODEL: &str = "gpt-4o-mini:latest";

/// How a stream's bytes come in.
#[derive(Clone, Copy)]
pub(crate) enum Cut {
    /// So many events a read.
    Events(usize),
    /// So many bytes a read.
    Bytes(usize),
}

/// The events of a whole answer, as this kind of backend sends them: texts, a reason, the usage, `[DONE]`. Where
/// `padded`, no event is as the one before but for its text, in a member that is not known: then each is read in full.
fn events(event: &str, text: &str, padded: bool) -> Vec<String> {
    let (before, after) = event.split_once(&format!("\"content\":\"{text}\"")).unwrap();
    let padding = |nth: usize| &"kR8sTq0Zx"[..nth % 9];
    let mut events: Vec<String> = (0..TOKENS)
        .map(|nth| {
            let text = TEXTS[nth * 7 % TEXTS.len()];
            let more = if padded { format!(",\"padding\":\"{}\"", padding(nth)) } else { String::new() };
            let after = after[..after.len() - 1].replace("kR8sT", padding(nth));
            format!("data: {before}\"content\":\"{text}\"{after}{more}}}\n\n")
        })
        .collect();
    let finish = format!("{before}\"content\":\"\"{after}")
        .replace("\"finish_reason\":null", "\"finish_reason\":\"stop\"");
    let usage = "{\"id\":\"x\",\"object\":\"chat.completion.chunk\",\"choices\":[],\"usage\":{\"prompt_tokens\":26,\"completion_tokens\":1000,\"total_tokens\":1026}}";
    events.extend([
        format!("data: {finish}\n\n"),
        format!("data: {usage}\n\n"),
        "data: [DONE]\n\n".to_string(),
    ]);
    events
}

/// The reads of one answer: slices of one buffer, as a socket's are.
pub(crate) fn stream(backend: &str, padded: bool, cut: Cut) -> Vec<Bytes> {
    let (_, event, text) = EVENTS.into_iter().find(|(name, ..)| *name == backend).unwrap();
    let events = events(event, text, padded);
    let buffer = Bytes::from(events.concat());
    let ends: Vec<usize> = match cut {
        Cut::Events(count) => events
            .chunks(count)
            .scan(0, |at, events| {
                *at += events.iter().map(String::len).sum::<usize>();
                Some(*at)
            })
            .collect(),
        Cut::Bytes(len) => (len..buffer.len()).step_by(len).chain([buffer.len()]).collect(),
    };
    let starts = [0].into_iter().chain(ends.iter().copied());
    starts.zip(&ends).map(|(start, end)| buffer.slice(start..*end)).collect()
}

/// The reads of an answer that is one call, its arguments in a piece a token.
pub(crate) fn tool_stream() -> Vec<Bytes> {
    let chunk = |delta: &str, reason: &str| {
        format!(
            "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1787306400,\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"logprobs\":null,\"finish_reason\":{reason}}}]}}\n\n"
        )
    };
    let call = |call: &str| chunk(&format!("{{\"tool_calls\":[{{\"index\":0,{call}}}]}}"), "null");
    let argument = |text: &str| call(&format!("\"function\":{{\"arguments\":\"{text}\"}}"));
    let mut events =
        vec![call(r#""id":"call_1","type":"function","function":{"name":"write","arguments":""}"#)];
    events.push(argument(r#"{\"text\":\""#));
    events.extend((0..TOKENS).map(|nth| argument([" word", "\\\\n", " more", "\\u00e9"][nth % 4])));
    events.push(argument(r#"\"}"#));
    events.push(chunk("{}", "\"tool_calls\""));
    events.push("data: [DONE]\n\n".to_string());
    events.into_iter().map(Bytes::from).collect()
}

/// What the client of [`stream`] asked.
pub(crate) fn wanted(stream: bool) -> Wanted<'static> {
    Wanted {
        endpoint: Endpoint::Chat,
        model: MODEL,
        stream,
        think: Think::Unset,
        logprobs: None,
        think_tags: ThinkTags::Off,
        started_at: Timestamp::from_unix_seconds(1_787_306_400),
        load: Duration::from_millis(1),
    }
}

/// One answer through decoder, scanner, translator and writer, a frame out for each read in, as the proxy does it. Each
/// read comes a millisecond later. Gives the lines and bytes that came out.
pub(crate) fn translate(wanted: &Wanted<'_>, reads: Vec<Bytes>) -> (usize, usize) {
    let mut translator = StreamTranslator::new(wanted, BodyKind::Events);
    let mut out = BytesMut::new();
    let mut now = wanted.load;
    let (mut lines, mut bytes, mut answering) = (0, 0, Answering::Open);
    for read in reads {
        now += Duration::from_nanos(1_234_567);
        answering = translator.push(&read, now, &mut out).unwrap();
        let frame = out.split().freeze();
        lines += usize::from(!frame.is_empty());
        bytes += frame.len();
    }
    assert_eq!(answering, Answering::Done);
    (lines, bytes)
}

/// A chat of at least so many bytes: a system's message, then turns of prose and of code with line ends and quotes.
pub(crate) fn chat(bytes: usize) -> String {
    let prose = "Rayleigh scattering sends short wavelengths to every side, which is why the caf\u{e9}'s sky is blue. ";
    let code = r#"fn main() {\n    let text = \"one\\ttwo\";\n    println!(\"{text}\");\n}\n\n"#;
    let mut body = format!(
        "{{\"model\":\"{MODEL}\",\"messages\":[{{\"role\":\"system\",\"content\":\"You are a helpful assistant.\"}}"
    );
    for turn in 0.. {
        let (role, text) = if turn % 2 == 0 { ("user", prose) } else { ("assistant", code) };
        let repeat = if bytes > 10_000 { 20 } else { 2 };
        write!(body, ",{{\"role\":\"{role}\",\"content\":\"{}\"}}", text.repeat(repeat)).unwrap();
        if body.len() + 80 >= bytes && turn % 2 == 0 {
            break;
        }
    }
    body.push_str("],\"stream\":true,\"keep_alive\":\"5m\",\"options\":{\"temperature\":0.7,\"num_ctx\":8192,\"num_predict\":256}}");
    body
}

/// A chat with a picture of so many bytes of base64.
pub(crate) fn picture_chat(bytes: usize) -> String {
    let picture = "iVBORw0KGgoA".repeat(bytes / 12);
    format!(
        "{{\"model\":\"{MODEL}\",\"messages\":[{{\"role\":\"user\",\"content\":\"What is it?\",\"images\":[\"{picture}\"]}}]}}"
    )
}

/// An agent's chat: tools, and so many turns of a call and its result.
pub(crate) fn agent_chat(turns: usize) -> String {
    let tool = r#"{"type":"function","function":{"name":"read_file","description":"Reads a file","parameters":{"type":"object","properties":{"path":{"type":"string"}},"required":["path"]}}}"#;
    let call = r#"{"role":"assistant","content":"","tool_calls":[{"function":{"name":"read_file","arguments":{"path":"src/main.rs"}}}]}"#;
    let result = format!(
        r#"{{"role":"tool","tool_name":"read_file","content":"{}"}}"#,
        r"//! A file.\nfn main() {}\n".repeat(20)
    );
    let turns = vec![format!("{call},{result}"); turns].join(",");
    format!(
        "{{\"model\":\"{MODEL}\",\"messages\":[{{\"role\":\"user\",\"content\":\"Read it.\"}},{turns}],\"tools\":[{}]}}",
        [tool; 8].join(",")
    )
}

/// A request of `/api/chat` to the backend's, into a buffer as the proxy makes it.
pub(crate) fn ask(body: &[u8]) -> Bytes {
    let request = ChatRequest::parse(body).unwrap();
    let mut out = BytesMut::with_capacity(body.len() + 512);
    write_chat(&request, "gpt-4o-mini", Dialect::default(), &|_| None, &mut out).unwrap();
    out.freeze()
}

/// A request of `/v1` with the backend's name of the model: which has another length, so that nothing stays in place.
pub(crate) fn pass(body: &Bytes) -> [Bytes; 3] {
    NamedModel::find(body).unwrap().replaced(body, "gpt-4o-mini")
}

/// A request for so many vectors.
pub(crate) fn embed_request(texts: usize) -> String {
    let text = "\"Rayleigh scattering sends short wavelengths to every side.\"";
    format!("{{\"model\":\"{MODEL}\",\"input\":[{}]}}", vec![text; texts].join(","))
}

/// The request to the backend.
pub(crate) fn ask_embed(body: &[u8]) -> Bytes {
    let request = EmbedRequest::parse(EmbedEndpoint::Embed, body).unwrap();
    let mut out = BytesMut::new();
    write_embed(&request, "gpt-4o-mini", Dialect::default(), &mut out);
    out.freeze()
}

/// The backend's vectors in digits: of unit length, or all of another.
pub(crate) fn vectors(texts: usize, dimensions: usize, unit: bool) -> Bytes {
    let number = if unit { 1.0 / (dimensions as f64).sqrt() } else { 0.123_456_789 };
    let numbers: Vec<String> =
        (0..dimensions).map(|nth| format!("{}{number:.17}", if nth % 2 == 0 { "" } else { "-" })).collect();
    let vector = numbers.join(",");
    list(
        (0..texts)
            .map(|nth| format!("{{\"object\":\"embedding\",\"index\":{nth},\"embedding\":[{vector}]}}")),
    )
}

/// The same, packed as base64 of 32-bit floats, a thousand bytes or more of `AACAPw==` and the like.
pub(crate) fn packed_vectors(texts: usize, dimensions: usize) -> Bytes {
    assert_eq!(dimensions % 3, 0);
    let vector = "AACAPwAAAD8AAIA+".repeat(dimensions / 3);
    list(
        (0..texts)
            .map(|nth| format!("{{\"object\":\"embedding\",\"index\":{nth},\"embedding\":\"{vector}\"}}")),
    )
}

fn list(elements: impl Iterator<Item = String>) -> Bytes {
    let elements: Vec<String> = elements.collect();
    let usage = "\"usage\":{\"prompt_tokens\":640,\"total_tokens\":640}";
    Bytes::from(format!("{{\"object\":\"list\",\"data\":[{}],\"model\":\"m\",{usage}}}", elements.join(",")))
}

/// The answer to [`embed_request`], read and written as the proxy does it. Gives its bytes.
pub(crate) fn translate_embed(request: &str, answer: &Bytes) -> usize {
    let request = EmbedRequest::parse(EmbedEndpoint::Embed, request.as_bytes()).unwrap();
    let mut translator = EmbedTranslator::new(&request);
    for read in answer.chunks(16 << 10) {
        translator.push(read).unwrap();
    }
    let mut reply = translator.finish(Duration::from_millis(2), Duration::from_millis(1)).unwrap();
    let (mut out, mut bytes) = (BytesMut::new(), 0);
    while !reply.is_over() {
        let whole = reply.write_next(&mut out);
        bytes += out.split().len() + whole.map_or(0, |vector| vector.len());
    }
    bytes
}
