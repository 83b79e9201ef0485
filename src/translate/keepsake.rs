//! [`Keepsake`]: what a backend put on a tool call and wants to read again, which no Ollama client brings back.
//!
//! Gemini signs its thoughts (`extra_content`), and so does LiteLLM in front of it (`provider_specific_fields`); a history
//! whose calls lack the signature is refused (the dialect catalogue's row T11). The members are opaque: they leave as
//! they came. Who keeps them, and for how long, is floor 3's business; here is only by what a call in a history is known
//! again: by its identifier, and for clients that lose it by what is called with what.

use crate::wire::{JsonError, Kind, RawJson, RawStr, Scanner};
use bytes::Bytes;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The members of a call that are kept.
pub(super) const MEMBERS: [&str; 2] = ["extra_content", "provider_specific_fields"];

/// See the module's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keepsake {
    /// The identifier that the client was given.
    pub id: String,
    /// Stands for the function and its arguments.
    pub call: u64,
    /// A JSON object: what to put on the call again.
    pub members: Bytes,
}

/// A call in a history.
#[derive(Clone, Copy, Debug)]
pub struct MadeCall<'a> {
    /// The identifier that the client brings, as it stands in its JSON; often none.
    pub id: RawStr<'a>,
    /// The function.
    pub name: RawStr<'a>,
    /// An object, or a string that holds one.
    pub arguments: Option<RawJson<'a>>,
}

impl MadeCall<'_> {
    /// The same number for the same function with the same arguments, however they are written.
    #[must_use]
    pub fn call(&self) -> u64 {
        call(&self.name.decode(), self.arguments)
    }
}

/// Finds what was kept for a call, as a JSON object.
pub type Recall<'a> = &'a dyn Fn(&MadeCall<'_>) -> Option<Bytes>;

/// Clients decode a call and write it anew, in their own order and with their own escapes and numbers, and some leave
/// out arguments without a value: all that must not matter.
pub(super) fn call(name: &str, arguments: Option<RawJson<'_>>) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    let inner = arguments.and_then(RawJson::as_str).map(RawStr::decode);
    let arguments = match &inner {
        Some(text) => Scanner::new(text.as_bytes()).value().ok(),
        None => arguments,
    };
    match arguments.filter(|value| value.kind() == Kind::Object) {
        // The text was checked when it was read.
        Some(arguments) => drop(hash_value(arguments, &mut hasher)),
        None => drop(Scanner::new(b"{}").value().and_then(|none| hash_value(none, &mut hasher))),
    }
    hasher.finish()
}

fn hash_value(value: RawJson<'_>, hasher: &mut DefaultHasher) -> Result<(), JsonError> {
    let kind = value.kind();
    kind.name().hash(hasher);
    match kind {
        Kind::Object => {
            let mut members = Vec::new();
            let mut scanner = Scanner::new(value.bytes());
            scanner.begin_object()?;
            while let Some(key) = scanner.next_key()? {
                members.push((key.decode(), scanner.value()?));
            }
            members.retain(|(_, value)| !matches!(value.bytes(), b"null" | b"\"\""));
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            members.len().hash(hasher);
            members.into_iter().try_for_each(|(key, value)| {
                key.hash(hasher);
                hash_value(value, hasher)
            })
        }
        Kind::Array => {
            let mut count = 0u64;
            value.each_element(|element| {
                count += 1;
                hash_value(element, hasher)
            })?;
            count.hash(hasher);
            Ok(())
        }
        Kind::String => {
            value.as_str().unwrap_or_default().decode().hash(hasher);
            Ok(())
        }
        Kind::Number => {
            let number = std::str::from_utf8(value.bytes()).ok().and_then(|text| text.parse::<f64>().ok());
            // 0 and -0 are equal.
            number.map(|number| (number + 0.0).to_bits()).hash(hasher);
            Ok(())
        }
        Kind::Bool | Kind::Null => {
            value.bytes().hash(hasher);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, arguments: &str) -> u64 {
        call(name, Some(Scanner::new(arguments.as_bytes()).value().unwrap()))
    }

    #[test]
    fn the_same_call_however_it_is_written() {
        let one = of("f", r#"{"city":"Zürich","n":1,"list":[1,2.5,{"a":true}]}"#);
        for other in [
            r#"{ "list" : [1.0, 25e-1, {"a": true}], "n": 1.0, "city": "Z\u00fcrich" }"#,
            r#"{"city":"Zürich","n":1,"list":[1,2.5,{"a":true}],"unit":null,"note":""}"#,
            r#""{\"city\":\"Zürich\",\"n\":1,\"list\":[1,2.5,{\"a\":true}]}""#,
        ] {
            assert_eq!(of("f", other), one, "{other}");
        }
        assert_eq!(of("f", "{}"), call("f", None));
        assert_eq!(of("f", r#""""#), call("f", None));
        assert_eq!(of("f", r#"{"n":0}"#), of("f", r#"{"n":-0.0}"#));
    }

    #[test]
    fn another_call_is_another() {
        let one = of("f", r#"{"a":[1,2],"b":"x"}"#);
        for (name, other) in [
            ("g", r#"{"a":[1,2],"b":"x"}"#),
            ("f", r#"{"a":[2,1],"b":"x"}"#),
            ("f", r#"{"a":[1],"b":"x"}"#),
            ("f", r#"{"a":"x","b":[1,2]}"#),
            ("f", r#"{"a":[1,"2"],"b":"x"}"#),
            ("f", r#"{"a":[1,2],"b":"x","c":false}"#),
        ] {
            assert_ne!(of(name, other), one, "{name} {other}");
        }
    }
}
