//! Texts in arrays: `content` as parts, `{"type":"text","text":..}` and `{"type":"thinking","thinking":[..]}`, and
//! `reasoning_details`, `{"type":"reasoning.text","text":..}` and `{"type":"reasoning.summary","summary":..}`.

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

/// Calls `take` with each text of `reasoning_details`, in order. What is encrypted is no text.
pub(super) fn each_reasoning<'a>(
    details: RawJson<'a>,
    take: &mut dyn FnMut(RawStr<'a>),
) -> Result<(), JsonError> {
    details.each_element(|detail| {
        detail.each_member(|name, value| {
            if let (b"text" | b"summary", Some(text)) = (name, value.as_str()) {
                take(text);
            }
            Ok(())
        })
    })
}
