//! The gate of the scanner: one recorded event to its text, laid escaped into an output buffer.
//!
//! Four ways, the same work each, on events as five kinds of backends send them (`benches/events`): the scanner, which
//! splices the text as it stands; the shape of the event before, with the scanner behind it, which is how a stream is
//! read; simd-json with reused buffers, which needs a copy to un-escape in place, and then the text escaped anew;
//! serde_json into a struct that borrows what it can. What reads a stream must be at least twice as fast as the better
//! of the two libraries on the median event, or it must go. README.md, "Figures", has the numbers.
//!
//! sonic-rs is not among them: it brings serde by way of faststr, which `deny.toml` refuses, and some ten packages.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench stops at what is wrong"
)]

use bytes::BytesMut;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ollama_openai_proxy::openai::{ChatCompletionChunk, TextShape};
use ollama_openai_proxy::wire::JsonWriter;
use serde::Deserialize;
use simd_json::prelude::ValueAsScalar;
use simd_json::{Buffers, Tape};
use std::borrow::Cow;
use std::hint::black_box;

const EVENTS: [(&str, &[u8]); 5] = [
    ("openai", include_bytes!("events/openai.json")),
    ("vllm", include_bytes!("events/vllm.json")),
    ("llama_cpp", include_bytes!("events/llama_cpp.json")),
    ("openrouter", include_bytes!("events/openrouter.json")),
    ("deepseek", include_bytes!("events/deepseek.json")),
];

fn by_scanner(event: &[u8], out: &mut BytesMut) {
    let chunk = ChatCompletionChunk::read(event).unwrap();
    assert!(!chunk.is_error && chunk.finish_reason.is_none());
    JsonWriter::new(out).raw_str(chunk.delta.content);
}

/// As the stream translator does it: the last event's shape first, the scanner when that does not fit.
fn by_shape(shape: &TextShape, event: &[u8], out: &mut BytesMut) {
    match shape.read(event) {
        Some((_, text)) => JsonWriter::new(out).raw_str(text),
        None => by_scanner(event, out),
    }
}

struct SimdJson {
    copy: Vec<u8>,
    buffers: Buffers,
    tape: Option<Tape<'static>>,
}

impl SimdJson {
    fn run(&mut self, event: &[u8], out: &mut BytesMut) {
        self.copy.clear();
        self.copy.extend_from_slice(event);
        let mut tape = self.tape.take().unwrap().reset();
        simd_json::fill_tape(&mut self.copy, &mut self.buffers, &mut tape).unwrap();
        let value = tape.as_value();
        assert!(value.get("error").is_none());
        let choice = value.get("choices").unwrap().as_array().unwrap().get(0).unwrap();
        assert!(choice.get("finish_reason").unwrap().as_str().is_none());
        let delta = choice.get("delta").unwrap();
        JsonWriter::new(out).string(delta.get("content").unwrap().as_str().unwrap());
        self.tape = Some(tape.reset());
    }
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    choices: Vec<Choice<'a>>,
    error: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    delta: Delta<'a>,
    finish_reason: Option<&'a str>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Option<Cow<'a, str>>,
}

fn by_serde_json(event: &[u8], out: &mut BytesMut) {
    let chunk: Chunk<'_> = serde_json::from_slice(event).unwrap();
    assert!(chunk.error.is_none() && chunk.choices[0].finish_reason.is_none());
    JsonWriter::new(out).string(chunk.choices[0].delta.content.as_deref().unwrap());
}

fn event(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("event");
    for (name, event) in EVENTS {
        let mut out = BytesMut::with_capacity(4096);
        group.throughput(Throughput::Bytes(event.len() as u64));
        group.bench_with_input(BenchmarkId::new("scanner", name), event, |bencher, event| {
            bencher.iter(|| {
                out.clear();
                by_scanner(black_box(event), &mut out);
            });
        });
        let mut shape = TextShape::default();
        shape.learn(event, &ChatCompletionChunk::read(event).unwrap());
        group.bench_with_input(BenchmarkId::new("shape", name), event, |bencher, event| {
            bencher.iter(|| {
                out.clear();
                by_shape(black_box(&shape), black_box(event), &mut out);
            });
        });
        let mut simd = SimdJson { copy: Vec::new(), buffers: Buffers::new(1024), tape: Some(Tape::null()) };
        group.bench_with_input(BenchmarkId::new("simd-json", name), event, |bencher, event| {
            bencher.iter(|| {
                out.clear();
                simd.run(black_box(event), &mut out);
            });
        });
        group.bench_with_input(BenchmarkId::new("serde_json", name), event, |bencher, event| {
            bencher.iter(|| {
                out.clear();
                by_serde_json(black_box(event), &mut out);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, event);
criterion_main!(benches);
