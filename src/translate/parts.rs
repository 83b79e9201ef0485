//! `content` as an array of parts: `{"type":"text","text":..}` and `{"type":"thinking","thinking":[..]}`.

use crate::openai::TextKind;
use crate::wire::{JsonError, KEY_BYTES, Kind, RawJson, RawStr, Scanner};

/// Calls `take` with each text in the array, in order.
pub(super) fn each_text(
    parts: RawJson<'_>,
    kind: TextKind,
    take: &mut dyn FnMut(TextKind, RawStr<'_>),
) -> Result<(), JsonError> {
    let mut scanner = Scanner::new(parts.bytes());
    scanner.begin_array()?;
    while scanner.next_element()? {
        let part = scanner.value()?;
        if part.kind() == Kind::Object {
            part_text(part, kind, take)?;
        }
    }
    Ok(())
}

fn part_text(
    part: RawJson<'_>,
    kind: TextKind,
    take: &mut dyn FnMut(TextKind, RawStr<'_>),
) -> Result<(), JsonError> {
    let mut members = Scanner::new(part.bytes());
    let mut scratch = [0; KEY_BYTES];
    members.begin_object()?;
    while let Some(key) = members.next_key()? {
        let name = key.lookup(&mut scratch);
        let kind = match name {
            b"text" => kind,
            b"thinking" => TextKind::Reasoning,
            _ => {
                members.value()?;
                continue;
            }
        };
        let value = members.value()?;
        match value.as_str() {
            Some(text) => take(kind, text),
            // A thinking part holds parts of its own, and these no others.
            None if value.kind() == Kind::Array && kind == TextKind::Reasoning => {
                each_text(value, kind, take)?
            }
            None => {}
        }
    }
    Ok(())
}
