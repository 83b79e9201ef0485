//! In steady state an event costs no allocation: `SseDecoder` and `StreamTranslator` together, from a backend's bytes
//! to the client's lines, for events that each lie inside one read, and once one was cut, for cut ones too.
//!
//! The crate `allocation-counter` brings the counting allocator, because `unsafe` is forbidden here in tests too. It
//! counts this thread only, so tests that run beside this one do not disturb it. Not promised, and not counted here:
//! the beginning and the end of an answer, tool calls and token probabilities.
//!
//! What a whole request costs, both ways, is a table of figures.
//!
//! A list of vectors is held once, and the client's answer costs no more than a vector at a time.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test stops where it fails")]

#[path = "../benches/exchanges/mod.rs"]
mod exchanges;

use allocation_counter::{AllocationInfo, measure};
use bytes::{Bytes, BytesMut};
use exchanges::Cut;
use ollama_openai_proxy::ollama::{
    ChatRequest, EmbedEndpoint, EmbedRequest, Endpoint, GenerateRequest, Think, Timestamp,
};
use ollama_openai_proxy::openai::Dialect;
use ollama_openai_proxy::translate::{
    Answering, BodyKind, EmbedTranslator, StreamTranslator, ThinkTags, Wanted, write_chat, write_generate,
};
use ollama_openai_proxy::wire::SseDecoder;
use std::time::Duration;

const WARM_UP: usize = 100;
const EVENTS: usize = 10_000;

fn chunk(delta: &str, rest: &str) -> String {
    format!(
        "{{\"id\":\"chatcmpl-9\",\"object\":\"chat.completion.chunk\",\"created\":1787306400,\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"logprobs\":null,\"finish_reason\":null}}]{rest}}}"
    )
}

fn content(text: &str) -> String {
    chunk(&format!("{{\"content\":\"{text}\"}}"), "")
}

fn event(json: &str) -> String {
    format!("data: {json}\n\n")
}

/// Reads of one event each, all slices of one buffer, as a socket's reads are slices of its buffer.
fn reads(events: &[String]) -> Vec<Bytes> {
    let buffer = Bytes::from(events.concat().into_bytes());
    let mut at = 0;
    let mut reads = Vec::with_capacity(WARM_UP + EVENTS);
    for event in events {
        reads.push(buffer.slice(at..at + event.len()));
        at += event.len();
    }
    let once = reads.clone();
    reads.extend(once.into_iter().cycle().take(WARM_UP + EVENTS - events.len()));
    reads
}

fn wanted(endpoint: Endpoint, think: Think) -> Wanted<'static> {
    Wanted {
        endpoint,
        model: "gpt-4o:latest",
        stream: true,
        think,
        logprobs: None,
        think_tags: ThinkTags::Off,
        started_at: Timestamp::from_unix_seconds(1_787_306_400),
        load: Duration::from_millis(1),
    }
}

/// What 10,000 events cost behind the first hundred. Time passes, so every line has its own `created_at`.
fn cost(wanted: &Wanted<'_>, events: &[String]) -> AllocationInfo {
    let reads = reads(events);
    let mut translator = StreamTranslator::new(wanted, BodyKind::Events);
    let mut out = BytesMut::with_capacity(4096);
    let mut now = wanted.load;
    let mut lines = 0;
    let mut pull = |read: Bytes| {
        now += Duration::from_nanos(1_234_567);
        out.clear();
        assert_eq!(translator.push(&read, now, &mut out), Ok(Answering::Open));
        lines += usize::from(!out.is_empty());
    };
    let mut reads = reads.into_iter();
    reads.by_ref().take(WARM_UP).for_each(&mut pull);
    let info = measure(|| reads.for_each(&mut pull));
    assert!(lines > 0, "no event made a line");
    info
}

fn assert_free(what: &str, wanted: &Wanted<'_>, events: &[String]) {
    let info = cost(wanted, events);
    assert_eq!(info.count_total, 0, "{what}: {} bytes for {EVENTS} events", info.bytes_total);
}

#[test]
fn the_allocator_counts() {
    let info = measure(|| drop(std::hint::black_box(Vec::<u8>::with_capacity(64))));
    assert_eq!((info.count_total, info.bytes_total), (1, 64));
}

#[test]
fn text_costs_no_allocation() {
    let events = ["Hel", "lo", " wor\\n", "\\u00e9\\ud83d\\ude00", "ld"].map(|text| event(&content(text)));
    assert_free("chat", &wanted(Endpoint::Chat, Think::Unset), &events);
    assert_free("generate", &wanted(Endpoint::Generate, Think::Unset), &events);
}

#[test]
fn text_that_is_mended_costs_no_allocation() {
    let events = ["\u{e9}\u{1f600}", "\u{2028}x\u{85}", "\u{4f60}\u{597d}"].map(|text| event(&content(text)));
    assert_free("separators", &wanted(Endpoint::Chat, Think::Unset), &events);
    let pair = ["a\\ud83d", "\\ude00b"].map(|text| event(&content(text)));
    assert_free("a pair cut in two", &wanted(Endpoint::Chat, Think::Unset), &pair);
}

#[test]
fn invalid_utf8_costs_no_allocation() {
    let text = event(&content("caf@"));
    let bytes: Vec<u8> = text.bytes().map(|byte| if byte == b'@' { 0xc3 } else { byte }).collect();
    let read = Bytes::from(bytes);
    let wanted = wanted(Endpoint::Chat, Think::Unset);
    let mut translator = StreamTranslator::new(&wanted, BodyKind::Events);
    let mut out = BytesMut::with_capacity(4096);
    let mut pull = || {
        out.clear();
        translator.push(&read, wanted.load, &mut out).unwrap();
    };
    (0..WARM_UP).for_each(|_| pull());
    assert_eq!(measure(|| (0..EVENTS).for_each(|_| pull())).count_total, 0);
}

#[test]
fn reasoning_usage_and_parts_cost_no_allocation() {
    let usage = ",\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2,\"total_tokens\":11}";
    let events = [
        event(&chunk(r#"{"reasoning_content":"hm"}"#, usage)),
        event(&chunk(r#"{"reasoning":"hm","reasoning_content":"hm","content":null}"#, usage)),
        event(&chunk(r#"{"content":"a","role":null,"tool_calls":null}"#, usage)),
        event(&chunk(
            r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"a"}]}"#,
            "",
        )),
        event(&content("a").replace("\"finish_reason\":null", "\"finish_reason\":\"\"")),
        event("{\"choices\":[],\"prompt_filter_results\":[{\"a\":{}}]}"),
        event(
            "{\"x\":[{\"y\":[1,2,{}]}],\"choices\":[{\"index\":1,\"delta\":{\"content\":\"b\"}}],\"obfuscation\":\"xx\"}",
        ),
    ];
    assert_free("thinking", &wanted(Endpoint::Chat, Think::Unset), &events);
    assert_free("thinking left out", &wanted(Endpoint::Generate, Think::Off), &events);
}

#[test]
fn framing_costs_no_allocation() {
    let json = content("a");
    let events = [
        format!("data:{json}\r\n\r\n"),
        format!("data: {json}\r\r"),
        format!("event: chunk\nid: 7\nretry: 1\ndata: {json}\n\n"),
        ": keep-alive\n\n".to_string(),
        "data: : keep-alive\n\ndata:\n\ndata: \"\"\n\n".to_string(),
        format!("{json}\n"),
        event(&json).repeat(20),
    ];
    assert_free("framing", &wanted(Endpoint::Chat, Think::Unset), &events);
}

#[test]
fn events_that_reads_cut_cost_no_allocation() {
    let text = event(&content("Hello"));
    let cuts = [30, text.len() - 2, text.len() - 1];
    let events: Vec<String> =
        cuts.iter().flat_map(|cut| [text[..*cut].to_string(), text[*cut..].to_string()]).collect();
    assert_free("cut events", &wanted(Endpoint::Chat, Think::Unset), &events);
}

#[test]
fn the_decoder_alone_costs_no_allocation() {
    let reads = reads(&["Hel", "lo"].map(|text| event(&content(text))));
    let mut decoder = SseDecoder::new(1 << 20);
    let mut count = 0;
    let mut pull = |read: Bytes| {
        let mut input = &read[..];
        while let Some(event) = decoder.next_event(&mut input).unwrap() {
            count += usize::from(!event.data.is_empty());
        }
    };
    let mut reads = reads.into_iter();
    reads.by_ref().take(WARM_UP).for_each(&mut pull);
    assert_eq!(measure(|| reads.for_each(&mut pull)).count_total, 0);
    assert_eq!(count, WARM_UP + EVENTS);
}

/// Row F14: what follows [DONE] is not read. A backend that goes on for ever must not fill the memory.
#[test]
fn what_follows_the_end_is_not_kept() {
    let read = Bytes::from(event(&content("more")));
    let wanted = wanted(Endpoint::Chat, Think::Unset);
    let mut translator = StreamTranslator::new(&wanted, BodyKind::Events);
    let mut out = BytesMut::with_capacity(4096);
    let end = event(&content("a")) + "data: [DONE]\n\n" + &event(&content("late"));
    assert_eq!(translator.push(end.as_bytes(), wanted.load, &mut out), Ok(Answering::Done));
    let info = measure(|| {
        for _ in 0..1000 {
            assert_eq!(translator.push(&read, wanted.load, &mut out), Ok(Answering::Done));
        }
    });
    assert_eq!((info.count_total, info.bytes_current), (0, 0), "{info:?}");
}

/// A list of so many vectors, in digits or packed, and of unit length or not.
fn vectors(count: usize, vector: &str) -> Bytes {
    let element = |index: usize| format!("{{\"index\":{index},\"embedding\":{vector}}}");
    let elements: Vec<String> = (0..count).rev().map(element).collect();
    Bytes::from(format!("{{\"data\":[{}],\"usage\":{{\"prompt_tokens\":1}}}}", elements.join(",")))
}

#[test]
fn vectors_are_held_once_and_written_one_at_a_time() {
    const TEXTS: usize = 100;
    let request = format!("{{\"model\":\"m\",\"input\":[{}]}}", ["\"a\""; TEXTS].join(","));
    let digits = |number: &str| format!("[{}]", [number; 1024].join(","));
    // 1/32 is what makes 1024 equal numbers a unit vector; the packed numbers are all 1.0.
    let packed = format!("\"{}\"", "AACAPwAAgD8AAIA/".repeat(341) + "AACAPw==");
    let all =
        [digits("0.03125"), digits("-0.0312500009313"), digits("2.5")].map(|vector| (vector.len(), vector));
    for (held, vector) in all.into_iter().chain([(4 * 1024, packed)]) {
        let body = vectors(TEXTS, &vector);
        let request = EmbedRequest::parse(EmbedEndpoint::Embed, request.as_bytes()).unwrap();
        let mut translator = EmbedTranslator::new(&request);
        let reading = measure(|| body.chunks(16 << 10).for_each(|read| translator.push(read).unwrap()));
        let mut reply = None;
        let ordering = measure(|| reply = translator.finish(Duration::ZERO, Duration::ZERO).ok());
        let mut reply = reply.unwrap();
        let mut out = BytesMut::with_capacity(64 << 10);
        let writing = measure(|| {
            while !reply.is_over() {
                out.clear();
                drop(reply.write_next(&mut out));
            }
        });
        // Beside the vectors: the one that is being read, in a buffer that doubles, and what points to them.
        let most = (body.len() + 5 * vector.len() + TEXTS * 256) as u64;
        assert!(reading.bytes_max <= most, "{} bytes for a body of {}", reading.bytes_max, body.len());
        assert!(ordering.bytes_max <= (TEXTS * 256) as u64, "{ordering:?}");
        assert!(writing.bytes_max <= 8 * 1024, "the numbers of one: {writing:?}");
        assert!(
            writing.bytes_current <= -((TEXTS * held) as i64) + 8 * 1024 + 4096,
            "each is let go: {writing:?}"
        );
    }
}

/// Megabytes of base64 are moved: looked at once, copied once into the request, and never held a second time.
#[test]
fn a_picture_costs_no_allocation_of_its_size() {
    const ROOM: usize = 1024;
    let picture = "iVBORw0KGgoA".repeat(512 << 10);
    let chat =
        format!(r#"{{"model":"m","messages":[{{"role":"user","content":"See","images":["{picture}"]}}]}}"#);
    let generate = format!(r#"{{"model":"m","prompt":"See","images":["data:image/png;base64,{picture}"]}}"#);
    let mut out = BytesMut::with_capacity(chat.len().max(generate.len()) + ROOM);
    let info = measure(|| {
        let request = ChatRequest::parse(chat.as_bytes()).unwrap();
        write_chat(&request, "m", Dialect::default(), &|_| None, &mut out).unwrap();
    });
    assert!(info.bytes_total < 4096 && out.len() > picture.len(), "chat: {info:?}");
    out.clear();
    let info = measure(|| {
        let request = GenerateRequest::parse(generate.as_bytes()).unwrap();
        write_generate(&request, "m", Dialect::default(), &mut out).unwrap();
    });
    assert!(info.bytes_total < 4096 && out.len() > picture.len(), "generate: {info:?}");
}

/// Tags in the texts are read without an allocation, behind the first few.
#[test]
fn tagged_text_costs_no_allocation() {
    let events = ["Hel ", " <", "lo", " wor\\n", "\\u003c", "ld"].map(|text| event(&content(text)));
    let wanted = Wanted { think_tags: ThinkTags::Open, ..wanted(Endpoint::Chat, Think::Unset) };
    assert_free("tags", &wanted, &events);
}

/// How many allocations `run` makes.
fn allocations(run: impl FnOnce()) -> u64 {
    measure(run).count_total
}

/// The figures are exact: one that falls is written down as well. A longer history costs what its lists take to grow,
/// nothing for each message; a call costs its identifier and what belongs to it.
#[test]
fn a_request_costs_so_many_allocations() {
    let table = [
        ("1 KB", exchanges::chat(1 << 10), 5),
        ("100 KB", exchanges::chat(100 << 10), 8),
        ("5 MB", exchanges::chat(5 << 20), 14),
        ("a picture", exchanges::picture_chat(1 << 20), 9),
        ("1 call", exchanges::agent_chat(1), 13),
        ("100 calls", exchanges::agent_chat(100), 812),
    ];
    let counted = table.each_ref().map(|(what, body, _)| {
        let body = body.as_bytes();
        (*what, allocations(|| drop(exchanges::ask(body))))
    });
    assert_eq!(counted, table.map(|(what, _, count)| (what, count)));
}

/// From the first read to the last line, a thousand tokens or the one object made of them.
#[test]
fn an_answer_costs_so_many_allocations() {
    let (lines, whole) = (exchanges::wanted(true), exchanges::wanted(false));
    let table = [
        ("lines", &lines, exchanges::stream("vllm", false, Cut::Events(1)), 8),
        ("lines, read in full", &lines, exchanges::stream("openai", true, Cut::Events(1)), 10),
        ("16 lines a read", &lines, exchanges::stream("vllm", false, Cut::Events(16)), 11),
        ("one object", &whole, exchanges::stream("vllm", false, Cut::Events(1)), 20),
    ];
    let counted = table.each_ref().map(|(what, wanted, reads, _)| {
        let reads = reads.clone();
        (*what, allocations(|| _ = exchanges::translate(wanted, reads)))
    });
    assert_eq!(counted, table.map(|(what, .., count)| (what, count)));
}

/// Requests that are passed on, and vectors: each is two, its element's text and who holds a part of that; the first text
/// grows to its length.
#[test]
fn what_is_passed_and_embedded_costs_so_many_allocations() {
    let (small, large) = (Bytes::from(exchanges::chat(1 << 10)), Bytes::from(exchanges::chat(5 << 20)));
    let pass = [&small, &large].map(|body| allocations(|| drop(exchanges::pass(body))));
    let request = exchanges::embed_request(64);
    let ask = allocations(|| drop(exchanges::ask_embed(request.as_bytes())));
    let answers = [
        exchanges::vectors(64, 1536, true),
        exchanges::vectors(64, 1536, false),
        exchanges::packed_vectors(64, 1536),
    ];
    let embed = answers.map(|answer| allocations(|| _ = exchanges::translate_embed(&request, &answer)));
    assert_eq!((pass, ask, embed), ([2, 2], 6, [158, 160, 158]));
}
