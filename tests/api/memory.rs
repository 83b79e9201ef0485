//! What a stream costs while it lives: its state, and no buffer. What working out the head of an answer took must be gone by
//! then, and hyper must have let go of the connection. And what large requests cost: memory that is used again, and not kept.

use crate::backend::Backend;
use crate::chunks::delta;
use crate::proxy::{Proxy, chat};
use std::thread::yield_now;
use std::time::{Duration, Instant};

#[test]
fn a_live_stream_holds_no_buffer() {
    const STREAMS: u64 = 256;
    // glibc and an unoptimised build: 4.5 KiB, and 16 more when hyper keeps its buffers.
    const MAX_KIB: u64 = 8;
    let backend = Backend::new(|request, peer| {
        if request.prompt() == "quick" {
            return peer.say(request, &["Hello"]);
        }
        peer.begin();
        peer.event(&delta("one"));
        peer.event(&delta(" two"));
        peer.wait_closed();
    });
    let proxy = Proxy::before(&backend);
    assert_eq!(proxy.chat("quick").status(), 200);
    let before = proxy.rss_kib();
    // One behind the other, so that what working out a head takes is there for the next: it is not asked about here.
    let streams = (0..STREAMS).map(|_| {
        let mut stream = proxy.client();
        // Both are kept to the end of the answer.
        let headers = [("authorization", "Bearer key"), ("x-request-id", "mine")];
        stream.request("POST", "/api/chat", &headers, Some(chat("hold").to_string().as_bytes()));
        assert_eq!(stream.json_line_after_head()["message"]["content"], "one");
        assert_eq!(stream.json_line()["message"]["content"], " two");
        stream
    });
    let streams: Vec<_> = streams.collect();
    let grown = proxy.rss_kib().saturating_sub(before);
    assert!(grown < MAX_KIB * STREAMS, "{grown} KiB for {STREAMS} streams");
    drop(streams);
}

#[test]
fn a_large_request_is_read_where_the_last_one_was_and_not_for_long() {
    const BYTES: usize = 4 << 20;
    const PAGES: u64 = BYTES as u64 / 4096;
    let backend = Backend::new(|request, peer| peer.say(request, &["Hello"]));
    // glibc would learn that such memory is asked for again. Others do not.
    let proxy = Proxy::with(&backend, &[("GLIBC_TUNABLES", "glibc.malloc.mmap_threshold=131072")]);
    assert_eq!(proxy.chat("small").status(), 200);
    let before = proxy.rss_kib();
    let long = "x".repeat(BYTES);
    assert_eq!(proxy.chat(&long).status(), 200);
    let faults = proxy.page_faults();
    for _ in 0..4 {
        assert_eq!(proxy.chat(&long).status(), 200);
    }
    // Both the client's request and the backend's would be made of new pages each time.
    let each = (proxy.page_faults() - faults) / 4;
    assert!(each < PAGES / 4, "{each} page faults for {PAGES} pages");
    let until = Instant::now() + Duration::from_secs(30);
    while proxy.rss_kib() > before + 1024 {
        assert!(Instant::now() < until, "{} KiB, {before} before", proxy.rss_kib());
        yield_now();
    }
}
