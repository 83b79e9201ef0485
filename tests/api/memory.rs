//! What a stream costs while it lives: a buffer of hyper's for each of reading and writing, on both sides, and little
//! else. What working out the head of an answer took must be gone by then.

use crate::backend::Backend;
use crate::chunks::delta;
use crate::proxy::{Proxy, chat};

#[test]
fn a_live_stream_holds_no_more_than_its_buffers() {
    const STREAMS: u64 = 256;
    // glibc and an unoptimised build: 34.4 KiB, and 65.4 when the room of the head was kept.
    const MAX_KIB: u64 = 44;
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
    let mut streams: Vec<_> = (0..STREAMS).map(|_| proxy.client()).collect();
    for stream in &mut streams {
        // Both are kept to the end of the answer.
        let headers = [("authorization", "Bearer key"), ("x-request-id", "mine")];
        stream.request("POST", "/api/chat", &headers, Some(chat("hold").to_string().as_bytes()));
    }
    for stream in &mut streams {
        assert_eq!(stream.json_line_after_head()["message"]["content"], "one");
        assert_eq!(stream.json_line()["message"]["content"], " two");
    }
    let grown = proxy.rss_kib().saturating_sub(before);
    assert!(grown < MAX_KIB * STREAMS, "{grown} KiB for {STREAMS} streams");
}
