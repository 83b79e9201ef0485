//! [`EmbedRequest`] and [`EmbedWriter`]: `POST /api/embed`, and the older `/api/embeddings` of a single text.

use super::request::{Room, boolean, list, members, model_name, string};
use super::{KeepAlive, Options, RequestError};
use crate::wire::{JsonWriter, Kind, Number, RawJson, RawStr, Scanner};
use bytes::{Bytes, BytesMut};
use std::borrow::Cow;
use std::time::Duration;

/// Which of the two is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmbedEndpoint {
    /// `/api/embed`: any number of texts, vectors of unit length.
    Embed,
    /// `/api/embeddings`: one text, its vector as the model gives it.
    Embeddings,
}

/// The texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Texts<'a> {
    /// None: there is nothing to ask.
    None,
    /// One text.
    One(RawStr<'a>),
    /// An array of so many strings.
    Many(RawJson<'a>, usize),
}

impl Texts<'_> {
    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Texts::None => 0,
            Texts::One(_) => 1,
            Texts::Many(_, count) => *count,
        }
    }
}

/// What the client said.
#[derive(Clone, Debug)]
pub struct EmbedRequest<'a> {
    /// Where.
    pub endpoint: EmbedEndpoint,
    /// The name as the client spelt it.
    pub model: Cow<'a, str>,
    /// `input`, or `prompt` of the older one.
    pub texts: Texts<'a>,
    /// Whether a text that is too long is to be cut; Ollama's default is yes. The older endpoint never cuts.
    pub truncate: bool,
    /// `dimensions`; zero and less mean all.
    pub dimensions: Option<u64>,
    /// See [`KeepAlive`]; `None` when absent.
    pub keep_alive: Option<KeepAlive>,
}

impl<'a> EmbedRequest<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// When it is missing, no JSON object, names no model, or a field has a value of another type.
    pub fn parse(endpoint: EmbedEndpoint, body: &'a [u8]) -> Result<Self, RequestError> {
        let is_embed = endpoint == EmbedEndpoint::Embed;
        let mut model = RawStr::default();
        let (mut texts, mut truncate, mut dimensions) = (Texts::None, is_embed, None);
        let mut keep_alive = None;
        members(body, |name, value| {
            match name {
                b"model" => model = string("model", value)?,
                b"input" if is_embed => texts = input(value.value()?)?,
                b"prompt" if !is_embed => texts = one(string("prompt", value)?),
                b"truncate" if is_embed => truncate = boolean("truncate", value)?.unwrap_or(true),
                b"dimensions" if is_embed => dimensions = positive("dimensions", value.value()?)?,
                b"images" => refuse_images(value)?,
                b"keep_alive" => keep_alive = KeepAlive::read(value.value()?)?,
                // They are about loading and sampling; what is wrong with them is said all the same.
                b"options" => drop(Options::read(value.value()?)?),
                _ => {}
            }
            Ok(())
        })?;
        if model.is_empty() {
            return Err(match endpoint {
                EmbedEndpoint::Embed => RequestError::not_found("model '' not found"),
                EmbedEndpoint::Embeddings => RequestError::new("model is required"),
            });
        }
        Ok(EmbedRequest { endpoint, model: model_name(model)?, texts, truncate, dimensions, keep_alive })
    }
}

fn one(text: RawStr<'_>) -> Texts<'_> {
    if text.is_empty() { Texts::None } else { Texts::One(text) }
}

/// A string or an array of strings. "invalid input type" is Ollama's text.
fn input(value: RawJson<'_>) -> Result<Texts<'_>, RequestError> {
    let invalid = |field: &str, expected: &str, found: Kind| {
        RequestError::new(format!("invalid input type: {field}: expected {expected}, found {}", found.name()))
    };
    match value.kind() {
        Kind::Null => Ok(Texts::None),
        Kind::String => Ok(one(value.as_str().unwrap_or_default())),
        Kind::Array => {
            let mut count = 0;
            let mut scanner = Scanner::new(value.bytes());
            scanner.begin_array()?;
            while scanner.next_element()? {
                let kind = scanner.value()?.kind();
                if kind != Kind::String {
                    return Err(invalid(&format!("input[{count}]"), "a string", kind));
                }
                count += 1;
            }
            Ok(if count == 0 { Texts::None } else { Texts::Many(value, count) })
        }
        other => Err(invalid("input", "a string or an array of strings", other)),
    }
}

fn positive(field: &str, value: RawJson<'_>) -> Result<Option<u64>, RequestError> {
    let digits = std::str::from_utf8(value.bytes()).ok().and_then(|digits| digits.parse::<i64>().ok());
    match (value.kind(), digits) {
        (Kind::Null, _) => Ok(None),
        (Kind::Number, Some(number)) => Ok(u64::try_from(number).ok().filter(|number| *number > 0)),
        (other, _) => Err(RequestError::expected(field, "an integer", other)),
    }
}

fn refuse_images(value: &mut Scanner<'_>) -> Result<(), RequestError> {
    if list("images", value, &mut Room::default(), |_, image, _| Ok(image.value()?))?.is_empty() {
        return Ok(());
    }
    Err(RequestError::new("images: only texts can be embedded; leave it out"))
}

/// Lays the answer into a buffer, vector by vector.
#[derive(Clone, Copy, Debug)]
pub struct EmbedWriter {
    endpoint: EmbedEndpoint,
    /// A vector stands before.
    has_vector: bool,
}

impl EmbedWriter {
    /// Begins the answer. `model` is the name as the client spelt it.
    pub fn begin(endpoint: EmbedEndpoint, model: &str, out: &mut BytesMut) -> Self {
        let mut json = JsonWriter::new(out);
        json.begin_object();
        match endpoint {
            EmbedEndpoint::Embed => {
                json.key("model");
                json.string(model);
                json.key("embeddings");
                json.begin_array();
            }
            EmbedEndpoint::Embeddings => json.key("embedding"),
        }
        EmbedWriter { endpoint, has_vector: false }
    }

    /// One vector.
    pub fn vector<'n>(&mut self, numbers: impl Iterator<Item = Number<'n>>, out: &mut BytesMut) {
        let mut json = if self.has_vector { JsonWriter::resume(out) } else { JsonWriter::new(out) };
        self.has_vector = true;
        json.begin_array();
        numbers.for_each(|number| json.number(number));
        json.end_array();
    }

    /// One vector, which is laid already, behind a comma: what of that is to be appended next.
    #[must_use]
    pub fn laid_vector(&mut self, array: &Bytes) -> Bytes {
        let from = usize::from(!self.has_vector).min(array.len());
        self.has_vector = true;
        array.slice(from..)
    }

    /// Ends the answer.
    pub fn end(self, figures: Option<&EmbedFigures>, out: &mut BytesMut) {
        let mut json = JsonWriter::resume(out);
        match self.endpoint {
            EmbedEndpoint::Embed => {
                json.end_array();
                if let Some(figures) = figures {
                    figures.write(&mut json);
                }
            }
            EmbedEndpoint::Embeddings if !self.has_vector => {
                json = JsonWriter::new(out);
                json.begin_array();
                json.end_array();
            }
            EmbedEndpoint::Embeddings => {}
        }
        json.end_object();
    }
}

/// What `/api/embed` tells of time and tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EmbedFigures {
    /// From the request's arrival to the end of the backend's answer.
    pub total: Duration,
    /// Until the request was on its way to the backend.
    pub load: Duration,
    /// Tokens of all texts, from the backend's usage.
    pub prompt_eval_count: Option<u64>,
}

impl EmbedFigures {
    fn write(&self, json: &mut JsonWriter<'_>) {
        let ns = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        json.key("total_duration");
        json.uint(ns(self.total));
        json.key("load_duration");
        json.uint(ns(self.load));
        // Ollama leaves out a zero, and LiteLLM cannot do without the member.
        json.key("prompt_eval_count");
        json.uint(self.prompt_eval_count.unwrap_or(0));
    }
}

/// The answer when there is nothing to embed: no figures, as from Ollama.
pub fn write_no_embedding(endpoint: EmbedEndpoint, model: &str, out: &mut BytesMut) {
    EmbedWriter::begin(endpoint, model, out).end(None, out);
}

#[cfg(test)]
mod tests {
    use super::EmbedEndpoint::{Embed, Embeddings};
    use super::*;

    fn error(endpoint: EmbedEndpoint, body: &str) -> (bool, String) {
        let error = EmbedRequest::parse(endpoint, body.as_bytes()).unwrap_err();
        (error.is_not_found, error.to_string())
    }

    fn texts(endpoint: EmbedEndpoint, rest: &str) -> (usize, String) {
        let body = format!(r#"{{"model":"m"{rest}}}"#);
        let request = EmbedRequest::parse(endpoint, body.as_bytes()).unwrap();
        let shown = match request.texts {
            Texts::None => "none".to_string(),
            Texts::One(text) => text.decode().into_owned(),
            Texts::Many(texts, _) => String::from_utf8(texts.bytes().to_vec()).unwrap(),
        };
        (request.texts.count(), shown)
    }

    #[test]
    fn the_texts_of_either_endpoint() {
        for empty in ["", r#","input":null"#, r#","input":"""#, r#","input":[]"#, r#","prompt":"a""#] {
            assert_eq!(texts(Embed, empty), (0, "none".to_string()), "{empty}");
        }
        for empty in ["", r#","prompt":null"#, r#","prompt":"""#, r#","input":"a""#] {
            assert_eq!(texts(Embeddings, empty), (0, "none".to_string()), "{empty}");
        }
        assert_eq!(texts(Embed, r#","input":"a\n""#), (1, "a\n".to_string()));
        assert_eq!(texts(Embed, r#","input":[""]"#), (1, r#"[""]"#.to_string()));
        assert_eq!(texts(Embed, r#","Input":["a","b"]"#), (2, r#"["a","b"]"#.to_string()));
        assert_eq!(texts(Embeddings, r#","prompt":"a""#), (1, "a".to_string()));
    }

    #[test]
    fn what_else_may_be_said() {
        let parse = |rest: &str| {
            let body = format!(r#"{{"model":"m","input":"a"{rest}}}"#);
            let request = EmbedRequest::parse(Embed, body.as_bytes()).unwrap();
            (request.truncate, request.dimensions)
        };
        assert_eq!(parse(""), (true, None));
        assert_eq!(parse(r#","truncate":null,"dimensions":null,"images":[],"images":null"#), (true, None));
        assert_eq!(parse(r#","truncate":false,"dimensions":256"#), (false, Some(256)));
        assert_eq!(parse(r#","dimensions":0"#), (true, None));
        assert_eq!(parse(r#","dimensions":-1"#), (true, None));
        assert_eq!(parse(r#","keep_alive":"5m","options":{"num_ctx":8192,"temperature":1}"#), (true, None));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let table = [
            (Embed, "", false, "missing request body"),
            (Embed, "{}", true, "model '' not found"),
            (Embeddings, "{}", false, "model is required"),
            (
                Embed,
                r#"{"model":"m","input":5}"#,
                false,
                "invalid input type: input: expected a string or an array of strings, found number",
            ),
            (
                Embed,
                r#"{"model":"m","input":["a",[1,2]]}"#,
                false,
                "invalid input type: input[1]: expected a string, found array",
            ),
            (Embeddings, r#"{"model":"m","prompt":["a"]}"#, false, "prompt: expected a string, found array"),
            (
                Embed,
                r#"{"model":"m","dimensions":"3"}"#,
                false,
                "dimensions: expected an integer, found string",
            ),
            (
                Embed,
                r#"{"model":"m","dimensions":1.5}"#,
                false,
                "dimensions: expected an integer, found number",
            ),
            (Embed, r#"{"model":"m","truncate":1}"#, false, "truncate: expected a boolean, found number"),
            (
                Embed,
                r#"{"model":"m","keep_alive":"x"}"#,
                false,
                "keep_alive: \"x\" is not a duration; give a number of seconds or a text like \"5m\"",
            ),
            (
                Embeddings,
                r#"{"model":"m","options":{"seed":"x"}}"#,
                false,
                "options.seed: expected an integer, found string",
            ),
            (
                Embed,
                r#"{"model":"m","input":"a","images":["iVBO"]}"#,
                false,
                "images: only texts can be embedded; leave it out",
            ),
        ];
        for (endpoint, body, is_not_found, message) in table {
            assert_eq!(error(endpoint, body), (is_not_found, message.to_string()), "{body}");
        }
    }

    #[test]
    fn answers_are_ollamas_to_the_byte() {
        let written = |endpoint, vectors: &[&[f64]], figures: Option<EmbedFigures>| {
            let mut out = BytesMut::new();
            let mut writer = EmbedWriter::begin(endpoint, "m\"", &mut out);
            for vector in vectors {
                writer.vector(vector.iter().copied().map(Number::Double), &mut out);
            }
            writer.end(figures.as_ref(), &mut out);
            String::from_utf8(out.to_vec()).unwrap()
        };
        let (total, load) = (Duration::from_nanos(7), Duration::from_nanos(3));
        let figures = Some(EmbedFigures { total, load, prompt_eval_count: Some(5) });
        assert_eq!(
            written(Embed, &[&[0.5, -1.0], &[0.0]], figures),
            r#"{"model":"m\"","embeddings":[[0.5,-1],[0]],"total_duration":7,"load_duration":3,"prompt_eval_count":5}"#
        );
        assert!(
            written(Embed, &[&[1.0]], Some(EmbedFigures::default())).ends_with(r#""prompt_eval_count":0}"#)
        );
        assert_eq!(written(Embeddings, &[&[0.5, 1.0]], figures), r#"{"embedding":[0.5,1]}"#);
        assert_eq!(written(Embed, &[], None), r#"{"model":"m\"","embeddings":[]}"#);
        assert_eq!(written(Embeddings, &[], None), r#"{"embedding":[]}"#);
    }
}
