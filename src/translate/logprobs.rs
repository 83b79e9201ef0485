//! Token probabilities: OpenAI's `logprobs.content` to Ollama's `logprobs`, which differ in what is left out.

use crate::wire::{JsonError, JsonWriter, Kind, RawJson};
use bytes::BytesMut;

/// Appends the inside of the list, without `bytes: null`, and without the alternatives when none were asked for.
pub(super) fn write_logprobs(list: RawJson<'_>, top: u64, out: &mut BytesMut) -> Result<(), JsonError> {
    let mut json = JsonWriter::new(out);
    list.each_element(|token| write_token(token, top > 0, &mut json))
}

fn write_token(token: RawJson<'_>, with_top: bool, json: &mut JsonWriter<'_>) -> Result<(), JsonError> {
    if token.kind() != Kind::Object {
        return Ok(());
    }
    json.begin_object();
    token.each_member(|name, value| {
        let known = ["token", "logprob", "bytes", "top_logprobs"];
        match known.into_iter().find(|known| known.as_bytes() == name) {
            // As Ollama leaves out what is empty.
            _ if value.is_empty_container() => {}
            Some("top_logprobs") if with_top && value.kind() == Kind::Array => {
                json.key("top_logprobs");
                json.begin_array();
                // An alternative has none itself.
                value.each_element(|token| write_token(token, false, json))?;
                json.end_array();
            }
            Some(name) if name != "top_logprobs" && value.kind() != Kind::Null => {
                json.key(name);
                json.raw_compact(value);
            }
            _ => {}
        }
        Ok::<(), JsonError>(())
    })?;
    json.end_object();
    Ok(())
}
