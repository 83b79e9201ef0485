//! Whole exchanges through the pure core: the decoder in bytes a second, an answer in time per token, a request in
//! bytes a second. `tests/count` counts the instructions of the same exchanges, which say more on a machine that others
//! use too.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench stops at what is wrong")]

#[path = "exchanges/mod.rs"]
mod exchanges;

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use exchanges::{Cut, EVENTS, TOKENS};
use ollama_openai_proxy::wire::SseDecoder;
use std::hint::black_box;

/// Three ways in which the same stream comes in.
const CUTS: [(&str, Cut); 3] = [
    ("1_event_a_read", Cut::Events(1)),
    ("16_events_a_read", Cut::Events(16)),
    ("7_bytes_a_read", Cut::Bytes(7)),
];

fn length(reads: &[Bytes]) -> u64 {
    reads.iter().map(|read| read.len() as u64).sum()
}

fn decode(reads: Vec<Bytes>) -> usize {
    let mut decoder = SseDecoder::new(1 << 20);
    let mut events = 0;
    for read in reads {
        let mut input = &read[..];
        while let Some(event) = decoder.next_event(&mut input).unwrap() {
            black_box(event.data);
            events += 1;
        }
    }
    events
}

/// Bytes a second: the decoder alone.
fn sse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sse");
    for (name, cut) in CUTS {
        let reads = exchanges::stream("vllm", false, cut);
        assert_eq!(decode(reads.clone()), TOKENS + 3);
        group.throughput(Throughput::Bytes(length(&reads)));
        group.bench_function(name, |bencher| {
            bencher.iter_batched(|| reads.clone(), decode, BatchSize::SmallInput);
        });
    }
    group.finish();
}

/// Tokens a second, and so the time per token: decoder, scanner, translator and writer.
fn stream(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stream");
    group.throughput(Throughput::Elements(TOKENS as u64));
    let wanted = exchanges::wanted(true);
    let mut bench = |name: BenchmarkId, reads: Vec<Bytes>| {
        group.bench_function(name, |bencher| {
            let translate = |reads| exchanges::translate(&wanted, reads);
            bencher.iter_batched(|| reads.clone(), translate, BatchSize::SmallInput);
        });
    };
    for (backend, ..) in EVENTS {
        bench(BenchmarkId::new("1_event_a_read", backend), exchanges::stream(backend, false, Cut::Events(1)));
    }
    for (name, cut) in CUTS.into_iter().skip(1) {
        bench(BenchmarkId::new(name, "vllm"), exchanges::stream("vllm", false, cut));
    }
    bench(BenchmarkId::new("read_in_full", "openai"), exchanges::stream("openai", true, Cut::Events(1)));
    bench(BenchmarkId::new("tool_call", "openai"), exchanges::tool_stream());
    group.finish();
}

/// A client's request to the backend's; one of `/v1`, of which the model's name is another.
fn request(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("request");
    let chats = [("1_KB", 1 << 10), ("100_KB", 100 << 10), ("5_MB", 5 << 20)];
    let chats = chats.map(|(name, bytes)| (name, exchanges::chat(bytes)));
    let others =
        [("1_MB_picture", exchanges::picture_chat(1 << 20)), ("100_calls", exchanges::agent_chat(100))];
    for (name, body) in chats.into_iter().chain(others) {
        let body = Bytes::from(body);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(BenchmarkId::new("translated", name), |bencher| {
            bencher.iter(|| exchanges::ask(black_box(&body)));
        });
        group.bench_function(BenchmarkId::new("passed", name), |bencher| {
            bencher.iter(|| exchanges::pass(black_box(&body)));
        });
    }
    group.finish();
}

/// 64 vectors of 1536 numbers, from the backend's answer to the client's.
fn embed(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("embed");
    let question = exchanges::embed_request(64);
    for (name, answer) in [
        ("unit", exchanges::vectors(64, 1536, true)),
        ("scaled", exchanges::vectors(64, 1536, false)),
        ("base64", exchanges::packed_vectors(64, 1536)),
    ] {
        group.throughput(Throughput::Bytes(answer.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| exchanges::translate_embed(&question, black_box(&answer)));
        });
    }
    group.finish();
}

criterion_group!(benches, sse, stream, request, embed);
criterion_main!(benches);
