//! Token probabilities: OpenAI's `logprobs.content` to Ollama's `logprobs`, which differ in what is left out.

use crate::wire::{JsonError, JsonWriter, KEY_BYTES, Kind, RawJson, Scanner};
use bytes::BytesMut;

/// Appends the inside of the list, without `bytes: null`, and without the alternatives when none were asked for.
pub(super) fn write_logprobs(list: RawJson<'_>, top: u64, out: &mut BytesMut) -> Result<(), JsonError> {
    let mut json = JsonWriter::new(out);
    each(list, |token| write_token(token, top > 0, &mut json))
}

fn each<'a>(
    list: RawJson<'a>,
    mut take: impl FnMut(RawJson<'a>) -> Result<(), JsonError>,
) -> Result<(), JsonError> {
    let mut scanner = Scanner::new(list.bytes());
    scanner.begin_array()?;
    while scanner.next_element()? {
        let token = scanner.value()?;
        if token.kind() == Kind::Object {
            take(token)?;
        }
    }
    Ok(())
}

fn write_token(token: RawJson<'_>, with_top: bool, json: &mut JsonWriter<'_>) -> Result<(), JsonError> {
    let mut members = Scanner::new(token.bytes());
    let mut scratch = [0; KEY_BYTES];
    members.begin_object()?;
    json.begin_object();
    while let Some(key) = members.next_key()? {
        let name = key.lookup(&mut scratch);
        let known =
            ["token", "logprob", "bytes", "top_logprobs"].into_iter().find(|known| known.as_bytes() == name);
        let value = members.value()?;
        match known {
            Some("top_logprobs") if with_top && value.kind() == Kind::Array => {
                json.key("top_logprobs");
                json.begin_array();
                // An alternative has none itself.
                each(value, |token| write_token(token, false, json))?;
                json.end_array();
            }
            Some(name) if name != "top_logprobs" && value.kind() != Kind::Null => {
                json.key(name);
                json.raw_compact(value);
            }
            _ => {}
        }
    }
    json.end_object();
    Ok(())
}
