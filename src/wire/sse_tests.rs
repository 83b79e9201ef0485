//! The decoder against the grammar, and against a decoder too simple to be wrong.

use super::*;
use proptest::prelude::*;

const CAP: usize = 1 << 20;

fn pieces(parts: &[&[u8]]) -> Vec<(String, String)> {
    let mut decoder = SseDecoder::new(CAP);
    let mut events = Vec::new();
    let mut keep = |event: SseEvent<'_>| {
        events.push((
            String::from_utf8_lossy(event.name).into_owned(),
            String::from_utf8_lossy(event.data).into_owned(),
        ));
    };
    for part in parts {
        // What was lent is overwritten before the next part comes, as in a buffer that is read into again.
        let mut scratch = part.to_vec();
        let mut input = &scratch[..];
        while let Some(event) = decoder.next_event(&mut input).unwrap() {
            keep(event);
        }
        assert!(input.is_empty());
        scratch.fill(b'#');
    }
    while let Some(event) = decoder.finish().unwrap() {
        keep(event);
    }
    events
}

fn whole(text: &[u8]) -> Vec<(String, String)> {
    pieces(&[text])
}

/// The standard's algorithm on the whole text: normalise the line ends, split, walk.
fn naive(text: &[u8]) -> Vec<(String, String)> {
    let text = text.strip_prefix(&BOM).unwrap_or(text);
    let text = String::from_utf8_lossy(text).replace("\r\n", "\n").replace('\r', "\n");
    let (mut events, mut name, mut data) = (Vec::new(), String::new(), None::<String>);
    let add = |data: &mut Option<String>, value: &str| match data {
        Some(lines) => {
            lines.push('\n');
            lines.push_str(value);
        }
        None => *data = Some(value.to_string()),
    };
    // The end of the text dispatches what is there: an end is a blank line to us.
    for line in text.split('\n').chain(["", ""]) {
        if line.is_empty() || line.starts_with('{') {
            let name = std::mem::take(&mut name);
            if let Some(data) = data.take() {
                events.push((name, data));
            }
            if !line.is_empty() {
                events.push((String::new(), line.to_string()));
            }
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => add(&mut data, value),
            "event" => name = value.to_string(),
            "error" => {
                name = "error".to_string();
                add(&mut data, value);
            }
            _ => {}
        }
    }
    events
}

fn event(name: &str, data: &str) -> (String, String) {
    (name.to_string(), data.to_string())
}

#[test]
fn every_line_end_and_field_form_of_the_grammar() {
    let table: &[(&str, &[(&str, &str)])] = &[
        ("data: a\n\n", &[("", "a")]),
        ("data: a\r\n\r\n", &[("", "a")]),
        ("data: a\r\r", &[("", "a")]),
        ("data:a\n\ndata:  b\n\n", &[("", "a"), ("", " b")]),
        ("data: a\ndata: b\n\n", &[("", "a\nb")]),
        ("data\n\n", &[("", "")]),
        ("data:\n\n", &[("", "")]),
        (": note\ndata: a\n\n", &[("", "a")]),
        (":\n\n: keep-alive\n\n", &[]),
        ("event: error\ndata: x\n\ndata: y\n\n", &[("error", "x"), ("", "y")]),
        ("event: ping\n\ndata: y\n\n", &[("", "y")]),
        ("id: 1\nretry: 5\nfoo: bar\ndata: a\n\n", &[("", "a")]),
        ("error: {\"code\":500}\n\n", &[("error", "{\"code\":500}")]),
        ("{\"a\":1}\n{\"b\":2}\n", &[("", "{\"a\":1}"), ("", "{\"b\":2}")]),
        ("data: a\n{\"b\":2}\n", &[("", "a"), ("", "{\"b\":2}")]),
        ("\u{feff}data: a\n\n", &[("", "a")]),
        ("\u{feff}\u{feff}data: a\n\ndata: b\n\n", &[("", "b")]),
        ("data: cut", &[("", "cut")]),
        ("data: a\n", &[("", "a")]),
    ];
    for (text, expected) in table {
        let expected: Vec<_> = expected.iter().map(|(n, d)| event(n, d)).collect();
        assert_eq!(whole(text.as_bytes()), expected, "{text:?}");
        assert_eq!(naive(text.as_bytes()), expected, "the oracle on {text:?}");
    }
}

#[test]
fn every_cut_in_two_and_byte_by_byte_gives_the_same_events() {
    let text = "\u{feff}: hi\r\ndata: {\"a\":\"é😀\"}\r\n\r\nevent: e\rdata:b\rdata: c\r\r{\"bare\":1}\ndata: [DONE]\n\n";
    let bytes = text.as_bytes();
    let expected = whole(bytes);
    assert_eq!(expected.len(), 4);
    for cut in 0..=bytes.len() {
        assert_eq!(pieces(&[&bytes[..cut], &bytes[cut..]]), expected, "cut at {cut}");
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(pieces(&single), expected);
}

#[test]
fn an_event_inside_one_chunk_is_a_slice_of_it() {
    for (text, data) in [
        ("data: {\"a\":1}\n\n", 6),
        (": first\r\ndata:{\"a\":1}\r\n\r\n", 14),
        ("event: x\ndata: {\"a\":1}\n\n", 15),
        ("{\"a\":1}\n", 0),
    ] {
        let mut decoder = SseDecoder::new(CAP);
        let mut input = text.as_bytes();
        let event = decoder.next_event(&mut input).unwrap().unwrap();
        assert_eq!(event.data.as_ptr(), text[data..].as_ptr(), "{text:?}");
        assert_eq!(decoder.kept.capacity(), 0, "{text:?}");
    }
}

#[test]
fn the_room_of_a_large_event_is_given_back() {
    let mut decoder = SseDecoder::new(CAP);
    let text = format!("event: {0}\ndata: {0}\ndata: {0}\n\n", "x".repeat(100_000));
    let mut input = text.as_bytes();
    assert_eq!(decoder.next_event(&mut input).unwrap().unwrap().data.len(), 200_001);
    assert_eq!(decoder.next_event(&mut input), Ok(None));
    assert!(decoder.kept.capacity() + decoder.name.capacity() <= 2 * KEPT_BYTES);
}

#[test]
fn an_event_past_the_cap_is_refused_in_one_piece_and_in_many() {
    let error = Err(SseError { max_event_bytes: 10 });
    for text in ["data: 1234567890\n\n", "data:1\ndata:2\ndata:3\ndata:4\ndata:5\n"] {
        let mut decoder = SseDecoder::new(10);
        assert_eq!(decoder.next_event(&mut text.as_bytes()), error, "{text:?}");
        let text = format!("data:a\n\n{text}");
        let (mut decoder, mut input) = (SseDecoder::new(10), text.as_bytes());
        assert_eq!(decoder.next_event(&mut input), Ok(Some(SseEvent { name: b"", data: b"a" })));
        assert_eq!(decoder.next_event(&mut input), error, "{text:?}");
    }

    let mut decoder = SseDecoder::new(10);
    for _ in 0..10 {
        assert_eq!(decoder.next_event(&mut &b"x"[..]), Ok(None));
    }
    assert_eq!(decoder.next_event(&mut &b"x"[..]), error);
}

/// Texts made of what matters to the grammar, so that the cuts fall in interesting places.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let token = prop::sample::select(vec![
        "data: ",
        "data:",
        "data",
        "event: x",
        "event: error",
        ": c",
        ":",
        "\n",
        "\n\n",
        "\r",
        "\r\n",
        "\r\n\r\n",
        "{\"a\":1}",
        "é",
        "😀",
        " ",
        "x",
        "id: 1",
        "error: e",
        "\u{feff}",
    ]);
    prop::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat().into_bytes())
}

proptest! {
    #[test]
    fn any_partition_gives_the_events_of_the_naive_decoder(text in stream(), cuts in prop::collection::vec(0usize..400, 0..8)) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (text.len() + 1)).collect();
        cuts.sort_unstable();
        let mut parts = Vec::new();
        let mut from = 0;
        for cut in cuts {
            parts.push(&text[from..cut]);
            from = cut;
        }
        parts.push(&text[from..]);
        prop_assert_eq!(pieces(&parts), naive(&text));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let parts: Vec<&[u8]> = bytes.chunks(3).collect();
        prop_assert_eq!(pieces(&parts), whole(&bytes));
    }
}
