//! What a stream costs while it lives: its state, and no buffer. What working out the head of an answer took must be gone by
//! then, and hyper must have let go of the connection.

use crate::backend::Backend;
use crate::chunks::delta;
use crate::proxy::{Proxy, chat};

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
