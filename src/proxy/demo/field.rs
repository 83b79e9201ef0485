//! Fields of a request body, and the fault to answer with when one is wrong.
//!
//! The errors are OpenAI's in shape and near its own in wording: each names the field by its path and says what was
//! expected. Which fields there are is `request`'s to know.

use hyper::StatusCode;
use simd_json::OwnedValue;
use simd_json::prelude::*;

use super::request::{EMBEDS, TALKS};

/// An error answer in OpenAI's words. The message names the field; `param` repeats it for programs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) status: StatusCode,
    pub(super) message: String,
    pub(super) param: Option<String>,
    pub(super) code: Option<&'static str>,
}

impl Fault {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), param: None, code: None }
    }

    pub(super) fn field(param: &str, code: &'static str, message: String) -> Self {
        Self { status: StatusCode::BAD_REQUEST, message, param: Some(param.to_owned()), code: Some(code) }
    }

    pub(super) fn missing(path: &str) -> Self {
        Self::field(path, "missing_required_parameter", format!("Missing required parameter: '{path}'."))
    }

    pub(super) fn kind(path: &str, expected: &str, got: &OwnedValue) -> Self {
        let got = kind(got);
        let message = format!("Invalid type for '{path}': expected {expected}, but got {got} instead.");
        Self::field(path, "invalid_type", message)
    }

    pub(super) fn value(path: &str, expected: &str) -> Self {
        Self::field(path, "invalid_value", format!("Invalid value for '{path}': expected {expected}."))
    }

    pub(super) fn unknown_model(name: &str) -> Self {
        let name: String = name.chars().take(200).collect();
        let message =
            format!("The model `{name}` does not exist; the demo backend has `{TALKS}` and `{EMBEDS}`.");
        Self { code: Some("model_not_found"), ..Self::new(StatusCode::NOT_FOUND, message) }
    }
}

/// Reads a body as one JSON object. The parser refuses more than 1024 levels, so no request can exhaust the stack.
pub(super) fn document(mut body: Vec<u8>) -> Result<OwnedValue, Fault> {
    let fault = |why: String| {
        Fault::new(StatusCode::BAD_REQUEST, format!("The request body is not valid JSON: {why}."))
    };
    let root = simd_json::to_owned_value(&mut body).map_err(|error| fault(error.to_string()))?;
    if root.as_object().is_none() {
        return Err(fault(format!("expected an object, but got {}", kind(&root))));
    }
    Ok(root)
}

/// A field that is there and not null: OpenAI reads null as absent.
pub(super) fn present<'a>(root: &'a OwnedValue, name: &str) -> Option<&'a OwnedValue> {
    root.get(name).filter(|value| !value.is_null())
}

pub(super) fn boolean(root: &OwnedValue, name: &str) -> Result<bool, Fault> {
    let Some(value) = present(root, name) else {
        return Ok(false);
    };
    value.as_bool().ok_or_else(|| Fault::kind(name, "a boolean", value))
}

pub(super) fn count(root: &OwnedValue, name: &str) -> Result<Option<usize>, Fault> {
    match present(root, name) {
        None => Ok(None),
        Some(value) => match value.as_usize() {
            Some(0) => Err(Fault::value(name, "an integer of at least 1")),
            Some(count) => Ok(Some(count)),
            None => Err(Fault::kind(name, "an integer of at least 1", value)),
        },
    }
}

pub(super) fn string<'a>(value: &'a OwnedValue, path: &str) -> Result<&'a str, Fault> {
    value.as_str().ok_or_else(|| Fault::kind(path, "a string", value))
}

pub(super) fn strings(value: &OwnedValue, path: &str) -> Result<Vec<String>, Fault> {
    if let Some(one) = value.as_str() {
        return Ok(vec![one.to_owned()]);
    }
    let list = value.as_array().ok_or_else(|| Fault::kind(path, "a string or an array of strings", value))?;
    list.iter()
        .enumerate()
        .map(|(index, item)| string(item, &format!("{path}[{index}]")).map(str::to_owned))
        .collect()
}

fn kind(value: &OwnedValue) -> &'static str {
    match value.value_type() {
        ValueType::Null => "null",
        ValueType::Bool => "a boolean",
        ValueType::String => "a string",
        ValueType::Array => "an array",
        ValueType::Object => "an object",
        _ => "a number",
    }
}
