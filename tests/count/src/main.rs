//! `count NAME`: one exchange through the core, for callgrind to count; `count` alone lists their names.
//!
//! Callgrind is told to count inside of [`counted`] only (`--toggle-collect`): neither start-up nor the making of what
//! comes in. Each exchange runs once before, so that what is found out once a process (which instructions the processor
//! has) is not in the count either, and its result is checked, so that no fault looks like a gain.

#[path = "../../../benches/exchanges/mod.rs"]
mod exchanges;

use bytes::Bytes;
use exchanges::{Cut, TOKENS};
use std::hint::black_box;

/// An exchange: makes what comes in, and gives what is to be counted.
struct Exchange {
    name: &'static str,
    prepare: fn() -> Box<dyn FnMut()>,
}

const fn exchange(name: &'static str, prepare: fn() -> Box<dyn FnMut()>) -> Exchange {
    Exchange { name, prepare }
}

const EXCHANGES: [Exchange; 23] = [
    exchange("stream-openai", || stream("openai", false, Cut::Events(1))),
    exchange("stream-vllm", || stream("vllm", false, Cut::Events(1))),
    exchange("stream-llama-cpp", || stream("llama_cpp", false, Cut::Events(1))),
    exchange("stream-openrouter", || stream("openrouter", false, Cut::Events(1))),
    exchange("stream-deepseek", || stream("deepseek", false, Cut::Events(1))),
    exchange("stream-openai-padded", || stream("openai", true, Cut::Events(1))),
    exchange("stream-vllm-16-events-a-read", || stream("vllm", false, Cut::Events(16))),
    exchange("stream-vllm-7-bytes-a-read", || stream("vllm", false, Cut::Bytes(7))),
    exchange("stream-tool-call", || answer(true, exchanges::tool_stream(), Some(2))),
    exchange("whole-vllm", || answer(false, exchanges::stream("vllm", false, Cut::Events(1)), Some(1))),
    exchange("request-1-kb", || request(exchanges::chat(1 << 10))),
    exchange("request-300-bytes", || request(exchanges::chat(300))),
    exchange("request-100-kb", || request(exchanges::chat(100 << 10))),
    exchange("request-5-mb", || request(exchanges::chat(5 << 20))),
    exchange("request-1-mb-picture", || request(exchanges::picture_chat(1 << 20))),
    exchange("request-100-calls", || request(exchanges::agent_chat(100))),
    exchange("pass-1-kb", || pass(exchanges::chat(1 << 10))),
    exchange("pass-100-kb", || pass(exchanges::chat(100 << 10))),
    exchange("pass-5-mb", || pass(exchanges::chat(5 << 20))),
    exchange("embed-request-64", embed_request),
    exchange("embed-64x1536-unit", || embed(exchanges::vectors(64, 1536, true))),
    exchange("embed-64x1536-scaled", || embed(exchanges::vectors(64, 1536, false))),
    exchange("embed-64x1536-base64", || embed(exchanges::packed_vectors(64, 1536))),
];

fn main() {
    let Some(name) = std::env::args().nth(1) else {
        EXCHANGES.iter().for_each(|exchange| println!("{}", exchange.name));
        return;
    };
    let exchange = EXCHANGES.iter().find(|exchange| exchange.name == name).expect("a name of the list");
    let mut run = (exchange.prepare)();
    run();
    counted(&mut *run);
}

/// Callgrind counts from its beginning to its end, by its name: it must stay a function, and the only one with it.
#[inline(never)]
fn counted(run: &mut dyn FnMut()) {
    run();
    black_box(());
}

fn stream(backend: &'static str, padded: bool, cut: Cut) -> Box<dyn FnMut()> {
    // A read may end no line, and one may end many.
    let lines = matches!(cut, Cut::Events(1)).then_some(TOKENS + 1);
    answer(true, exchanges::stream(backend, padded, cut), lines)
}

fn answer(is_stream: bool, reads: Vec<Bytes>, lines: Option<usize>) -> Box<dyn FnMut()> {
    Box::new(move || {
        let (frames, bytes) = exchanges::translate(&exchanges::wanted(is_stream), black_box(reads.clone()));
        assert!(
            lines.is_none_or(|lines| lines == frames) && bytes > 3 * TOKENS,
            "{frames} frames, {bytes} bytes"
        );
    })
}

fn request(body: String) -> Box<dyn FnMut()> {
    Box::new(move || {
        let request = exchanges::ask(black_box(body.as_bytes()));
        assert!(request.len() > body.len() / 10 * 9, "{} bytes of {}", request.len(), body.len());
    })
}

fn pass(body: String) -> Box<dyn FnMut()> {
    let body = Bytes::from(body);
    Box::new(move || {
        let pieces = exchanges::pass(black_box(&body));
        assert_eq!(pieces.iter().map(Bytes::len).sum::<usize>(), body.len() - ":latest".len());
    })
}

fn embed_request() -> Box<dyn FnMut()> {
    let body = exchanges::embed_request(64);
    Box::new(move || {
        let request = exchanges::ask_embed(black_box(body.as_bytes()));
        assert!(request.len() > body.len() / 10 * 9, "{} bytes of {}", request.len(), body.len());
    })
}

fn embed(answer: Bytes) -> Box<dyn FnMut()> {
    let request = exchanges::embed_request(64);
    Box::new(move || {
        let bytes = exchanges::translate_embed(&request, black_box(&answer));
        assert!(bytes > 64 * 1536, "{bytes} bytes");
    })
}
