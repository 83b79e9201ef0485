//! [`NamedModel`]: the name of the model in a request that is passed on as it came.
//!
//! Of a body in OpenAI's own form only the top-level `model` is the proxy's business; it refuses to know any other
//! field. What it cannot read is not its to judge: such a body goes to the backend as it is.

use crate::ollama::MAX_NAME_BYTES;
use crate::wire::{JsonError, JsonWriter, Kind, RawStr, Scanner};
use bytes::{Bytes, BytesMut};
use std::ops::Range;

/// Where the model is named in a JSON object, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedModel {
    name: String,
    /// Of the string, with its quotes.
    // Invariant: inside the body in which it was found.
    at: Range<usize>,
}

impl NamedModel {
    /// In a body that is one JSON object. Of several members the last counts, as it does for every parser that keeps one.
    ///
    /// `None` when the body is something else, or when its model is no name: missing, no string, or longer than any.
    #[must_use]
    pub fn find(body: &[u8]) -> Option<Self> {
        let (text, end) = last_model(body).ok()??;
        let name = text.decode();
        if name.len() > MAX_NAME_BYTES {
            return None;
        }
        Some(NamedModel { name: name.into_owned(), at: end.checked_sub(text.raw().len() + 2)?..end })
    }

    /// The name as text.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The body with another name: three pieces, of which the first and the last share the body's memory. Where the name
    /// is the same it stays as it was written.
    #[must_use]
    pub fn replaced(&self, body: &Bytes, name: &str) -> [Bytes; 3] {
        if name == self.name || self.at.end > body.len() {
            return [body.clone(), Bytes::new(), Bytes::new()];
        }
        let mut quoted = BytesMut::with_capacity(name.len() + 2);
        JsonWriter::new(&mut quoted).string(name);
        [body.slice(..self.at.start), quoted.freeze(), body.slice(self.at.end..)]
    }
}

/// The inside of the last top-level `model`, and where its closing quote ends.
fn last_model(body: &[u8]) -> Result<Option<(RawStr<'_>, usize)>, JsonError> {
    let mut scanner = Scanner::new(body);
    let mut scratch = [0; crate::wire::KEY_BYTES];
    let mut found = None;
    scanner.begin_object()?;
    while let Some(key) = scanner.next_key()? {
        if key.lookup(&mut scratch) != b"model" {
            scanner.value()?;
            continue;
        }
        found = match scanner.kind()? {
            Kind::String => Some((scanner.string()?, scanner.offset())),
            _ => {
                scanner.value()?;
                None
            }
        };
    }
    scanner.end()?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    /// The name that is found, and the body with `new` in its place.
    fn with(body: &str, new: &str) -> Option<(String, String)> {
        let found = NamedModel::find(body.as_bytes())?;
        let joined = found.replaced(&Bytes::copy_from_slice(body.as_bytes()), new).concat();
        Some((found.name().to_string(), String::from_utf8(joined).unwrap()))
    }

    #[test]
    fn only_the_name_is_another() {
        let table = [
            (r#"{"model":"a"}"#, "a", r#"{"model":"NEW"}"#),
            (" {\r\n\t\"model\" :  \"a\"\n} \n", "a", " {\r\n\t\"model\" :  \"NEW\"\n} \n"),
            (r#"{"x":1.50,"model":"","y":[ ]}"#, "", r#"{"x":1.50,"model":"NEW","y":[ ]}"#),
            // Names that are written with escapes, of the member and of the model.
            (r#"{"mod\u0065l":"\u0061\/b"}"#, "a/b", r#"{"mod\u0065l":"NEW"}"#),
            (r#"{"model":"a\"\\"}"#, "a\"\\", r#"{"model":"NEW"}"#),
            (r#"{"model":"é😀"}"#, "é😀", r#"{"model":"NEW"}"#),
            // Not at the top, or not the member.
            (
                r#"{"a":{"model":"n"},"b":[{"model":"n"}],"c":"model","model":"a","d":{"model":"n"}}"#,
                "a",
                r#"{"a":{"model":"n"},"b":[{"model":"n"}],"c":"model","model":"NEW","d":{"model":"n"}}"#,
            ),
            (r#"{"Model":"n","model ":"n","model":"a"}"#, "a", r#"{"Model":"n","model ":"n","model":"NEW"}"#),
            // The last of several counts.
            (r#"{"model":"a","model":"b"}"#, "b", r#"{"model":"a","model":"NEW"}"#),
            (r#"{"model":null,"model":"b"}"#, "b", r#"{"model":null,"model":"NEW"}"#),
        ];
        for (body, name, expected) in table {
            assert_eq!(with(body, "NEW"), Some((name.to_string(), expected.to_string())), "{body}");
        }
    }

    #[test]
    fn what_names_no_model_is_left_alone() {
        let long = format!(r#"{{"model":"{}"}}"#, "x".repeat(MAX_NAME_BYTES + 1));
        let deep = format!(r#"{{"x":{}{},"model":"a"}}"#, "[".repeat(200), "]".repeat(200));
        let table = [
            "",
            " ",
            "null",
            "[]",
            r#"["model","a"]"#,
            r#""model""#,
            "{}",
            r#"{"x":1}"#,
            r#"{"model":null}"#,
            r#"{"model":1}"#,
            r#"{"model":["a"]}"#,
            r#"{"model":{"model":"a"}}"#,
            r#"{"model":"a","model":7}"#,
            r#"{"model":"a"} x"#,
            r#"{"model":"a"}{"model":"b"}"#,
            r#"{"model":"a""#,
            r#"{"model":"a",}"#,
            r#"{model:"a"}"#,
            "{\"model\":\"a\nb\"}",
            "\u{feff}{\"model\":\"a\"}",
            "model=a",
            &long,
            &deep,
        ];
        for body in table {
            assert_eq!(with(body, "NEW"), None, "{body}");
        }
    }

    #[test]
    fn the_same_name_leaves_the_body_as_it_is_written() {
        let body = r#"{"model":"\u0061"}"#;
        assert_eq!(with(body, "a"), Some(("a".to_string(), body.to_string())));
    }

    #[test]
    fn the_new_name_is_written_as_a_json_string() {
        let name = "a\"b\\c\n\u{2028}é";
        let (_, body) = with(r#"{"model":"x","n":1}"#, name).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["model"], name);
    }

    #[test]
    fn what_stands_around_the_name_is_not_copied() {
        let body = Bytes::from_static(br#"{"a":1,"model":"m","b":2}"#);
        let [before, _, after] = NamedModel::find(&body).unwrap().replaced(&body, "other");
        assert_eq!(before.as_ptr(), body.as_ptr());
        assert_eq!(after.as_ptr(), body[body.len() - after.len()..].as_ptr());
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        let key = prop_oneof![Just("model".to_string()), any::<String>()];
        leaf.prop_recursive(4, 30, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((key.clone(), inner), 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn of_any_object_only_the_model_differs(
            members in prop::collection::vec((prop_oneof![Just("model".to_string()), any::<String>()], any_value()), 0..6),
            new in "[a-z0-9:/\"\\\\é]{0,20}",
            pretty in any::<bool>(),
        ) {
            let object: serde_json::Map<String, Value> = members.into_iter().collect();
            let write = |object: &serde_json::Map<String, Value>| match pretty {
                true => serde_json::to_string_pretty(object).unwrap(),
                false => serde_json::to_string(object).unwrap(),
            };
            let text = write(&object);
            let expected = match object.get("model") {
                Some(Value::String(name)) if name.len() <= MAX_NAME_BYTES => {
                    let mut changed = object.clone();
                    changed.insert("model".to_string(), new.clone().into());
                    Some((name.clone(), write(&changed)))
                }
                _ => None,
            };
            prop_assert_eq!(with(&text, &new), expected, "{}", text);
        }
    }
}
