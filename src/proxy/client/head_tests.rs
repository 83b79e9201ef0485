//! Heads as they are written and as they come.

use super::*;

fn written(method: Method, uri: &str, is_to_proxy: bool, length: u64) -> String {
    let mut head = RequestHead::new(method, &uri.parse().unwrap(), is_to_proxy);
    head.fixed_field("accept", "*/*");
    String::from_utf8(head.finish(length)).unwrap()
}

fn read(text: &str) -> Result<Option<(ResponseHead, usize)>, &'static str> {
    ResponseHead::read(text.as_bytes(), &Method::GET)
}

#[test]
fn a_request_names_its_target_its_host_and_its_length() {
    assert_eq!(
        written(Method::POST, "http://user:key@host:8000/v1/x?y=1", false, 12),
        "POST /v1/x?y=1 HTTP/1.1\r\nhost: host:8000\r\naccept: */*\r\ncontent-length: 12\r\n\r\n"
    );
    assert_eq!(
        written(Method::GET, "https://[::1]:443/models", false, 0),
        "GET /models HTTP/1.1\r\nhost: [::1]\r\naccept: */*\r\n\r\n"
    );
    assert_eq!(
        written(Method::POST, "http://host:80/v1", true, 0),
        "POST http://host/v1 HTTP/1.1\r\nhost: host\r\naccept: */*\r\ncontent-length: 0\r\n\r\n"
    );
}

#[test]
fn a_body_ends_as_its_head_says() {
    let of = |fields: &str| {
        let (head, _) = read(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).unwrap().unwrap();
        (format!("{:?}", head.framing).split(['(', ' ', '{']).next().unwrap().to_string(), head.persists)
    };
    let (length, chunked, close) = ("Length".to_string(), "Chunked".to_string(), "Close".to_string());
    assert_eq!(of("Content-Length: 5\r\n"), (length.clone(), true));
    assert_eq!(of("Content-Length: 5, 5\r\nContent-Length: 5\r\n"), (length.clone(), true));
    assert_eq!(of("Content-Length: 5\r\nConnection: x, Close\r\n"), (length.clone(), false));
    assert_eq!(of("Transfer-Encoding: gzip, Chunked\r\n"), (chunked.clone(), true));
    assert_eq!(of("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), (chunked, false));
    assert_eq!(of("Transfer-Encoding: gzip\r\n"), (close.clone(), false));
    assert_eq!(of(""), (close, false));
    let none = |start: &str, method: &Method| {
        let text = format!("{start}\r\ncontent-length: 5\r\n\r\n");
        matches!(ResponseHead::read(text.as_bytes(), method), Ok(Some((head, _))) if matches!(head.framing, Framing::Length(0)))
    };
    assert!(none("HTTP/1.1 200 OK", &Method::HEAD));
    for status in [101, 204, 304] {
        assert!(none(&format!("HTTP/1.1 {status} x"), &Method::GET), "{status}");
    }
    assert!(!none("HTTP/1.1 200 OK", &Method::GET));
    for (start, fields, persists) in
        [("HTTP/1.0", "", false), ("HTTP/1.0", "connection: keep-alive\r\n", true), ("HTTP/1.1", "", true)]
    {
        let text = format!("{start} 200\r\ncontent-length: 0\r\n{fields}\r\n");
        assert_eq!(read(&text).unwrap().unwrap().0.persists, persists, "{text}");
    }
}

#[test]
fn what_is_no_head_is_refused() {
    for text in [
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5, 6\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n",
        "HTTP/2 200\r\n\r\n",
        "SSH-2.0-OpenSSH\r\n",
        "HTTP/1.1 099 no\r\n\r\n",
        "HTTP/1.1 200 OK\r\na b: c\r\n\r\n",
    ] {
        assert!(read(text).is_err(), "{text:?}");
    }
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(MAX_FIELDS + 1));
    assert!(read(&many).unwrap_err().contains("too many"));
}

#[test]
fn a_head_is_whole_or_is_waited_for() {
    let text = "HTTP/1.1 200 OK\r\nServer: x\r\nX: \u{e9}\r\nX: 2\r\n\r\n";
    for len in 0..text.len() {
        assert!(ResponseHead::read(&text.as_bytes()[..len], &Method::GET).unwrap().is_none(), "{len}");
    }
    let (head, len) = read(&format!("{text}body")).unwrap().unwrap();
    assert_eq!((head.status.as_u16(), len), (200, text.len()));
    assert_eq!(head.headers.get_all("x").iter().count(), 2);
}
