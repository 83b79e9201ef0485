//! The tour against a scripted proxy: what is shown, and what is said when the answer goes wrong.

use super::*;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

const LAST: &str = concat!(
    r#"{"model":"demo","created_at":"2026-01-01T00:00:00Z","message":{"role":"assistant","content":""},"done":true,"#,
    r#""done_reason":"stop","total_duration":1200000000,"eval_count":40,"eval_duration":1000000000}"#,
    "\n"
);

fn line(content: &str) -> String {
    format!(r#"{{"model":"demo","message":{{"role":"assistant","content":"{content}"}},"done":false}}"#)
        + "\n"
}

/// Answers one request with these bytes, one write each, and closes. Returns what the tour printed and the request.
async fn toured(pieces: &[&[u8]], colour: bool) -> (Result<(), DemoError>, String, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap();
    let serve = async {
        let (stream, _) = listener.accept().await.unwrap();
        let request = read_request(&stream).await;
        for piece in pieces {
            write(&stream, piece).await;
            tokio::task::yield_now().await;
        }
        request
    };
    let mut out = Vec::new();
    let (told, request) = tokio::join!(tour(proxy, proxy, &mut out, colour), serve);
    (told, String::from_utf8(out).unwrap(), request)
}

async fn read_request(stream: &TcpStream) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\"stream\":true}") {
        stream.readable().await.unwrap();
        let mut buf = [0; 1024];
        match stream.try_read(&mut buf) {
            Ok(0) => panic!("the request broke off"),
            Ok(count) => request.extend_from_slice(&buf[..count]),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => panic!("{error}"),
            Err(_) => {}
        }
    }
    String::from_utf8(request).unwrap()
}

async fn write(stream: &TcpStream, mut piece: &[u8]) {
    while !piece.is_empty() {
        stream.writable().await.unwrap();
        match stream.try_write(piece) {
            Ok(count) => piece = &piece[count..],
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => panic!("{error}"),
            Err(_) => {}
        }
    }
}

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn words_are_shown_whatever_the_cuts_and_summed_up() {
    let lines = [line("Because"), line(" of"), line(" 空 🌅."), LAST.to_owned()].concat();
    for size in [1, 7, 64, lines.len()] {
        let mut pieces = vec![HEAD];
        pieces.extend(lines.as_bytes().chunks(size));
        let (told, shown, request) = toured(&pieces, false).await;
        told.unwrap();
        assert!(request.starts_with("POST /api/chat HTTP/1.0\r\n"), "{request}");
        assert!(shown.contains("> Why is the sky blue?\n\nBecause of 空 🌅.\n\n40 tokens in "), "{shown}");
        assert!(shown.contains(", 40 a second; the first word after "), "{shown}");
        assert!(!shown.contains('\u{1b}'), "{shown}");
    }
}

#[tokio::test]
async fn everything_fits_eighty_columns() {
    let words: Vec<String> = (0..60).map(|_| line(" considerable")).collect();
    let (told, mut shown, _) = toured(&[HEAD, words.concat().as_bytes(), LAST.as_bytes()], false).await;
    told.unwrap();
    let mut steps = Vec::new();
    next_steps(SocketAddr::from(([127, 0, 0, 1], 65535)), &mut steps, false).unwrap();
    shown.push_str(&String::from_utf8(steps).unwrap());
    for line in shown.lines() {
        assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
    }
}

#[tokio::test]
async fn colour_is_there_only_when_asked_for() {
    let (told, shown, _) = toured(&[HEAD, line("Blue").as_bytes(), LAST.as_bytes()], true).await;
    told.unwrap();
    assert!(shown.contains("\u{1b}[1mollama-openai-proxy"), "{shown}");
}

#[tokio::test]
async fn what_goes_wrong_is_said() {
    let refused = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 29\r\n\r\n{\"error\":\"backend is a\\nway\"}";
    let plain = b"HTTP/1.1 404 Not Found\r\ncontent-length: 18\r\n\r\n404 page not found";
    let begun = line("Be");
    let cases: [(&[&[u8]], &str); 7] = [
        (&[refused], "the proxy answered 502: backend is a way"),
        (&[plain], "the proxy answered 404: 404 page not found"),
        (
            &[HEAD, begun.as_bytes(), b"{\"error\":\"out of words\"}\n"],
            "the answer ended in an error: out of words",
        ),
        (&[HEAD, begun.as_bytes()], "the answer ended before its last line"),
        (&[HEAD, b"\n"], "a line of the answer is not JSON"),
        (&[HEAD, b"{}\n"], "a line of the answer has no message"),
        (&[b"SSH-2.0-OpenSSH\r\n"], "what answers does not speak HTTP"),
    ];
    for (pieces, expected) in cases {
        let (told, shown, _) = toured(pieces, false).await;
        assert_eq!(told.unwrap_err().to_string(), expected);
        assert!(!shown.contains("tokens in"), "{shown}");
    }
}

#[tokio::test]
async fn a_port_nobody_listens_on_is_named() {
    let socket = TcpSocket::new_v4().unwrap(); // bound, so that nobody else gets the port, and never listening
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let proxy = socket.local_addr().unwrap();
    let error = tour(proxy, proxy, &mut Vec::new(), false).await.unwrap_err();
    assert_eq!(error.to_string(), format!("could not connect to the proxy at {proxy}"));
    assert!(error.source().is_some());
}

#[test]
fn a_wildcard_is_reached_through_loopback() {
    let reached = |address: &str| reachable(address.parse().unwrap()).to_string();
    assert_eq!(reached("0.0.0.0:1"), "127.0.0.1:1");
    assert_eq!(reached("[::]:1"), "[::1]:1");
    assert_eq!(reached("192.0.2.1:1"), "192.0.2.1:1");
}
