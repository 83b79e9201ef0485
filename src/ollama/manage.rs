//! What the endpoints of model management check before they do anything, and the small bodies of the routes around
//! them: progress lines, the cloud's status, recommendations.

use super::RequestError;
use super::request::{boolean, members, model_name, string};
use crate::wire::{JsonWriter, RawStr};
use bytes::BytesMut;
use std::borrow::Cow;

/// What Ollama's registry answers for a model that it does not have; clients look for these very words.
pub const NO_SUCH_MANIFEST: &str = "pull model manifest: file does not exist";

/// `POST /api/pull`
#[derive(Clone, Debug)]
pub struct PullRequest<'a> {
    /// `model`, else the deprecated `name`.
    pub model: Cow<'a, str>,
    /// Lines as it goes on, or the last object alone. Ollama's default is lines.
    pub stream: bool,
}

impl<'a> PullRequest<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// When it is missing, no JSON object, or names no model.
    pub fn parse(body: &'a [u8]) -> Result<Self, RequestError> {
        let fields = Fields::read(body)?;
        let name = fields.name();
        if name.is_empty() {
            return Err(RequestError::new("invalid model name"));
        }
        Ok(PullRequest { model: model_name(name)?, stream: fields.stream })
    }
}

/// The checks of `POST /api/push`.
///
/// # Errors
/// When the body is missing, no JSON object, or names no model.
pub fn check_push(body: &[u8]) -> Result<(), RequestError> {
    let name = Fields::read(body)?.name();
    if name.is_empty() {
        return Err(RequestError::new("model is required"));
    }
    model_name(name).map(|_| ())
}

/// The checks of `POST /api/create`.
///
/// # Errors
/// When the body is missing, no JSON object, or names no model.
pub fn check_create(body: &[u8]) -> Result<(), RequestError> {
    PullRequest::parse(body).map(|_| ())
}

/// The checks of `DELETE /api/delete`.
///
/// # Errors
/// When the body is missing, no JSON object, or names no model.
pub fn check_delete(body: &[u8]) -> Result<(), RequestError> {
    let name = Fields::read(body)?.name();
    if name.is_empty() {
        return Err(RequestError::new("model is required"));
    }
    check_named("name", name)
}

/// The checks of `POST /api/copy`.
///
/// # Errors
/// When the body is missing, no JSON object, or does not name two models.
pub fn check_copy(body: &[u8]) -> Result<(), RequestError> {
    let (mut source, mut destination) = (RawStr::default(), RawStr::default());
    members(body, |name, value| {
        match name {
            b"source" => source = string("source", value)?,
            b"destination" => destination = string("destination", value)?,
            _ => {}
        }
        Ok(())
    })?;
    check_named("source", source)?;
    check_named("destination", destination)
}

/// The check of a request whose fields do not matter: it has a body, and that is an object.
///
/// # Errors
/// When it is not so.
pub fn check_body(body: &[u8]) -> Result<(), RequestError> {
    members(body, |_, _| Ok(()))
}

fn check_named(field: &str, name: RawStr<'_>) -> Result<(), RequestError> {
    match model_name(name) {
        Ok(_) if !name.is_empty() => Ok(()),
        _ => {
            let shown: String = name.decode().chars().take(super::MAX_NAME_BYTES).collect();
            Err(RequestError::new(format!("{field} {shown:?} is invalid")))
        }
    }
}

/// What most of these requests say.
struct Fields<'a> {
    model: RawStr<'a>,
    old_name: RawStr<'a>,
    stream: bool,
}

impl<'a> Fields<'a> {
    fn read(body: &'a [u8]) -> Result<Self, RequestError> {
        let mut fields = Fields { model: RawStr::default(), old_name: RawStr::default(), stream: true };
        members(body, |name, value| {
            match name {
                b"model" => fields.model = string("model", value)?,
                b"name" => fields.old_name = string("name", value)?,
                b"stream" => fields.stream = boolean("stream", value)?.unwrap_or(true),
                b"insecure" => _ = boolean("insecure", value)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(fields)
    }

    fn name(&self) -> RawStr<'a> {
        if self.model.is_empty() { self.old_name } else { self.model }
    }
}

/// One object of progress, `{"status":"success"}`.
pub fn write_progress(status: &str, out: &mut BytesMut) {
    let mut json = JsonWriter::new(out);
    json.begin_object();
    json.key("status");
    json.string(status);
    json.end_object();
}

/// `/api/status`: there is no cloud behind this server, and no client need try to sign in.
pub fn write_status(out: &mut BytesMut) {
    let mut json = JsonWriter::new(out);
    json.begin_object();
    json.key("cloud");
    json.begin_object();
    json.key("disabled");
    json.bool(true);
    json.key("source");
    json.string("config");
    json.end_object();
    json.end_object();
}

/// `/api/experimental/model-recommendations`: none.
pub fn write_recommendations(out: &mut BytesMut) {
    let mut json = JsonWriter::new(out);
    json.begin_object();
    json.key("recommendations");
    json.begin_array();
    json.end_array();
    json.end_object();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(check: fn(&[u8]) -> Result<(), RequestError>, body: &str) -> String {
        check(body.as_bytes()).map_or_else(|error| error.to_string(), |()| "fine".to_string())
    }

    #[test]
    fn bodies_are_checked_as_ollama_checks_them() {
        type Check = fn(&[u8]) -> Result<(), RequestError>;
        let pull: Check = |body| PullRequest::parse(body).map(|_| ());
        let long = format!(r#"{{"model":"{}"}}"#, "x".repeat(400));
        let table: [(Check, &str, &str); 17] = [
            (pull, "", "missing request body"),
            (pull, "{}", "invalid model name"),
            (pull, r#"{"model":"","name":"m"}"#, "fine"),
            (pull, r#"{"model":"m","insecure":1}"#, "insecure: expected a boolean, found number"),
            (pull, &long, "invalid model name"),
            (check_push, " ", "missing request body"),
            (check_push, "{}", "model is required"),
            (check_push, r#"{"name":"m"}"#, "fine"),
            (check_create, r#"{"from":"m"}"#, "invalid model name"),
            (check_create, r#"{"model":"m","from":"n","parameters":{"stop":["a"]}}"#, "fine"),
            (check_delete, "{}", "model is required"),
            (check_delete, r#"{"model":"a\nb"}"#, r#"name "a\nb" is invalid"#),
            (check_delete, r#"{"Name":"m"}"#, "fine"),
            (check_copy, "{}", r#"source "" is invalid"#),
            (check_copy, r#"{"source":"m"}"#, r#"destination "" is invalid"#),
            (check_copy, r#"{"source":"m","destination":"n"}"#, "fine"),
            (check_body, "", "missing request body"),
        ];
        for (check, body, expected) in table {
            assert_eq!(refusal(check, body), expected, "{body}");
        }
    }

    #[test]
    fn a_pull_streams_unless_it_says_otherwise() {
        for (body, stream) in [
            (r#"{"model":"m"}"#, true),
            (r#"{"model":"m","stream":null}"#, true),
            (r#"{"model":"m","stream":false}"#, false),
        ] {
            assert_eq!(PullRequest::parse(body.as_bytes()).unwrap().stream, stream, "{body}");
        }
    }
}
