//! `content` as an array of parts: `{"type":"text","text":..}` and `{"type":"thinking","thinking":[..]}`.

use crate::openai::TextKind;
use crate::wire::{JsonError, Kind, RawJson, RawStr};

/// Calls `take` with each text in the array, in order.
pub(super) fn each_text(
    parts: RawJson<'_>,
    kind: TextKind,
    take: &mut dyn FnMut(TextKind, RawStr<'_>),
) -> Result<(), JsonError> {
    parts.each_element(|part| {
        part.each_member(|name, value| {
            let kind = match name {
                b"text" => kind,
                b"thinking" => TextKind::Reasoning,
                _ => return Ok(()),
            };
            match value.as_str() {
                Some(text) => take(kind, text),
                // A thinking part holds parts of its own, and these no others.
                None if value.kind() == Kind::Array && kind == TextKind::Reasoning => {
                    each_text(value, kind, take)?;
                }
                None => {}
            }
            Ok(())
        })
    })
}
