//! The scanner against the grammar and against serde_json.

use super::*;
use proptest::prelude::*;
use serde_json::Value;

fn accepts(text: &[u8]) -> bool {
    let mut scanner = Scanner::new(text);
    scanner.value().is_ok() && scanner.end().is_ok()
}

/// The same text read by pulling every token instead of skipping.
fn pulled(scanner: &mut Scanner<'_>) -> Result<Value, JsonError> {
    Ok(match scanner.kind()? {
        Kind::Object => {
            let mut object = serde_json::Map::new();
            scanner.begin_object()?;
            while let Some(key) = scanner.next_key()? {
                object.insert(key.decode().into_owned(), pulled(scanner)?);
            }
            Value::Object(object)
        }
        Kind::Array => {
            let mut array = Vec::new();
            scanner.begin_array()?;
            while scanner.next_element()? {
                array.push(pulled(scanner)?);
            }
            Value::Array(array)
        }
        Kind::String => Value::String(scanner.string()?.decode().into_owned()),
        Kind::Number | Kind::Bool | Kind::Null => serde_json::from_slice(scanner.value()?.bytes()).unwrap(),
    })
}

#[test]
fn what_the_grammar_refuses_is_refused() {
    let refused = [
        "",
        " ",
        "{",
        "[",
        "\"",
        "{]",
        "[}",
        "[1,]",
        "{\"a\":1,}",
        "{,}",
        "[,1]",
        "[1 2]",
        "{\"a\" 1}",
        "{\"a\":}",
        "{1:2}",
        "01",
        "-",
        "1.",
        ".5",
        "1e",
        "1e+",
        "+1",
        "NaN",
        "Infinity",
        "tru",
        "nul",
        "truex",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\\u12\"",
        "\"a\nb\"",
        "\"\u{0}\"",
        "1 2",
        "[]]",
        "'a'",
        "{\"a\":1]",
        "// c\n1",
        "\u{feff}1",
        "\"\\",
    ];
    for text in refused {
        assert!(!accepts(text.as_bytes()), "{text:?}");
        let mut scanner = Scanner::new(text.as_bytes());
        let read = pulled(&mut scanner).and_then(|_| scanner.end());
        assert!(read.is_err(), "pulled {text:?}");
    }
}

#[test]
fn what_the_grammar_allows_is_read() {
    for text in [
        "0",
        "-0",
        "1e400",
        "-1.5E+10",
        "184467440737095516160",
        " [ ] ",
        "{ }",
        "\"\\ud800\"",
        "\"\u{7f}\"",
        "[[],{}]",
    ] {
        assert!(accepts(text.as_bytes()), "{text:?}");
    }
    assert!(accepts(b"\"\xff\""), "UTF-8 is the copier's work");
}

#[test]
fn every_prefix_is_truncated_and_nothing_else() {
    let text = r#"{"a":[1,-2.5e3,"x\u00e9\n",true,false,null,{}],"b":{"c":[]}}"#;
    for cut in 0..text.len() {
        let error = Scanner::new(&text.as_bytes()[..cut]).value().unwrap_err();
        assert_eq!(error.kind, JsonErrorKind::Truncated, "{}", &text[..cut]);
    }
}

#[test]
fn depth_is_capped_without_recursion() {
    let deep = |levels: usize| [vec![b'['; levels], vec![b']'; levels]].concat();
    assert!(accepts(&deep(MAX_DEPTH as usize)));
    let error = Scanner::new(&deep(MAX_DEPTH as usize + 1)).value().unwrap_err();
    assert_eq!(error.kind, JsonErrorKind::TooDeep);
    assert_eq!(Scanner::new(&vec![b'['; 1_000_000]).value().unwrap_err().kind, JsonErrorKind::TooDeep);
    let mixed = "{\"a\":[".repeat(64) + &"]}".repeat(64);
    assert!(accepts(mixed.as_bytes()));
}

#[test]
fn strings_know_whether_they_are_ascii() {
    for (text, ascii) in [
        ("\"\"", true),
        ("\"12345678901\"", true),
        ("\"é\"", false),
        ("\"1234567é\"", false),
        ("\"12345678\\né\"", false),
    ] {
        assert_eq!(Scanner::new(text.as_bytes()).string().unwrap().is_ascii(), ascii, "{text}");
    }
    // A letter behind the closing quote, in the same word, is not the string's.
    assert!(Scanner::new("\"ab\",\"é\"".as_bytes()).string().unwrap().is_ascii());
}

/// JSON texts with everything the dialects use, and near misses made by one changed byte.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e10f64..1e10).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[ -~\"\\\\]{0,30}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec(("[a-z\"\\\\é]{0,12}", inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn pulling_reads_what_serde_json_reads(value in json(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
        let mut scanner = Scanner::new(&text);
        // serde_json's own reading of the text, since it does not read every float back as it wrote it.
        prop_assert_eq!(pulled(&mut scanner).unwrap(), serde_json::from_slice::<Value>(&text).unwrap());
        prop_assert!(scanner.end().is_ok());
        prop_assert!(accepts(&text));
    }

    #[test]
    fn a_changed_byte_is_judged_as_serde_json_judges_it(value in json(), at in any::<prop::sample::Index>(), byte in prop::sample::select(&b"{}[]\",:0-.e\\ut \n\x1fa"[..])) {
        let mut text = serde_json::to_vec(&value).unwrap();
        let at = at.index(text.len());
        text[at] = byte;
        // Only ASCII texts: UTF-8 is judged elsewhere. Numbers past f64 and lone surrogates are grammar to us.
        if text.is_ascii() {
            match serde_json::from_slice::<Value>(&text) {
                Ok(_) => prop_assert!(accepts(&text)),
                Err(error) => {
                    let words = error.to_string();
                    if !words.contains("out of range") && !words.contains("surrogate") && !words.contains("hex escape") {
                        prop_assert!(!accepts(&text), "{}: {}", String::from_utf8_lossy(&text), words);
                    }
                }
            }
        }
    }
}

/// The inside of one string: where it ends, whether it has an escape, whether all is ASCII. Byte by byte.
fn naive(text: &[u8]) -> Result<(usize, bool, bool), JsonError> {
    let fail = |kind, offset| Err(JsonError { kind, offset });
    let mut at = 0;
    let mut escaped = false;
    loop {
        match text.get(at) {
            None => return fail(JsonErrorKind::Truncated, text.len()),
            Some(b'"') => return Ok((at, escaped, text[..at].is_ascii())),
            Some(0..0x20) => return fail(JsonErrorKind::Unexpected, at),
            Some(b'\\') => match text.get(at + 1) {
                None => return fail(JsonErrorKind::Truncated, text.len()),
                Some(b'u') => match text.get(at + 2..at + 6) {
                    None => return fail(JsonErrorKind::Truncated, text.len()),
                    Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => {
                        (at, escaped) = (at + 6, true)
                    }
                    Some(_) => return fail(JsonErrorKind::BadEscape, at),
                },
                Some(letter) if b"\"\\/bfnrt".contains(letter) => (at, escaped) = (at + 2, true),
                Some(_) => return fail(JsonErrorKind::BadEscape, at),
            },
            Some(_) => at += 1,
        }
    }
}

#[test]
fn every_byte_behind_a_backslash_is_judged_as_the_grammar_does() {
    for byte in 0..=u8::MAX {
        let text = [b"\"".as_slice(), &[b'a'; 40], &[b'\\', byte], b"00a0", &[b'a'; 40], b"\""].concat();
        assert_eq!(accepts(&text), naive(&text[1..]).is_ok_and(|(end, ..)| end == 86), "{byte}");
        let text = [b"\"\\u".as_slice(), &[byte; 4], b"\""].concat();
        assert_eq!(accepts(&text), byte.is_ascii_hexdigit(), "{byte}");
    }
}

proptest! {
    /// Long enough for words, blocks and what is left behind them, with rare and with dense escapes.
    #[test]
    fn long_strings_end_where_a_naive_reader_ends_them(
        plain in 0usize..200,
        units in prop::collection::vec(
            prop_oneof![
                200 => r#"[a-z ]{1,9}"#,
                40 => prop::sample::select(vec![r"\n", r#"\""#, r"\\", r"\u00e9", r"\ud83d\ude00", "\u{e9}", "\u{4f60}"])
                    .prop_map(str::to_string),
                1 => prop::sample::select(vec!["\"", "\n", r"\x", r"\u12g4", "\u{0}"]).prop_map(str::to_string),
            ],
            0..120,
        ),
        is_closed in any::<bool>(),
        behind in 0usize..70,
    ) {
        let end = if is_closed { "\"" } else { "" };
        let inside = format!("{}{}{end}{}", "p".repeat(plain), units.concat(), " ".repeat(behind));
        let text = format!("\"{inside}");
        let moved = |error: JsonError| JsonError { offset: error.offset + 1, ..error };
        let expected = naive(inside.as_bytes()).map_err(moved);
        let mut scanner = Scanner::new(text.as_bytes());
        let read = scanner.string();
        let found = read.map(|string| (string.raw().len(), string.raw().contains(&b'\\'), string.is_ascii()));
        prop_assert_eq!(found, expected);
        let skipped = Scanner::new(text.as_bytes()).value().map(|value| value.bytes().len() - 2);
        prop_assert_eq!(skipped, expected.map(|(len, ..)| len));
        let before = RawStr::before_quote(inside.as_bytes()).map(|(string, _)| string);
        prop_assert_eq!(before, read.ok());
        if let Ok(string) = read {
            prop_assert_eq!(RawStr::from_inside(string.raw()), Some(string));
        }
    }
}
