//! [`Options`]: the sampling options of a request that mean something to a backend.
//!
//! The others of Ollama's table (`num_ctx`, `num_gpu`, `mirostat`, ...) are about loading a model into memory or are
//! gone from Ollama itself: they are passed over whatever their value, so that no client's habit breaks a request.

use super::RequestError;
use crate::wire::{JsonError, Kind, RawJson};

/// What the client set. Numbers that are only moved stay as they were written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options<'a> {
    /// `temperature`
    pub temperature: Option<RawJson<'a>>,
    /// `top_p`
    pub top_p: Option<RawJson<'a>>,
    /// `min_p`
    pub min_p: Option<RawJson<'a>>,
    /// `typical_p`
    pub typical_p: Option<RawJson<'a>>,
    /// `frequency_penalty`
    pub frequency_penalty: Option<RawJson<'a>>,
    /// `presence_penalty`
    pub presence_penalty: Option<RawJson<'a>>,
    /// `repeat_penalty`, which multiplies; it is no `frequency_penalty`.
    pub repeat_penalty: Option<RawJson<'a>>,
    /// `top_k`
    pub top_k: Option<i64>,
    /// `num_predict`; zero and less mean "no limit".
    pub num_predict: Option<i64>,
    /// `seed`; less than zero means "any".
    pub seed: Option<i64>,
    /// `repeat_last_n`
    pub repeat_last_n: Option<i64>,
    /// `stop`: a string or an array of strings, never empty.
    pub stop: Option<RawJson<'a>>,
}

impl<'a> Options<'a> {
    /// Reads the `options` object; `null` is an empty one.
    ///
    /// # Errors
    /// When an option that is used has a value of another type.
    pub fn read(value: RawJson<'a>) -> Result<Self, RequestError> {
        let mut options = Options::default();
        match value.kind() {
            Kind::Null => return Ok(options),
            Kind::Object => {}
            other => return Err(RequestError::expected("options", "an object", other)),
        }
        value.each_member(|name, value| {
            if value.kind() == Kind::Null {
                return Ok(());
            }
            match name {
                b"temperature" => options.temperature = Some(float("temperature", value)?),
                b"top_p" => options.top_p = Some(float("top_p", value)?),
                b"min_p" => options.min_p = Some(float("min_p", value)?),
                b"typical_p" => options.typical_p = Some(float("typical_p", value)?),
                b"frequency_penalty" => options.frequency_penalty = Some(float("frequency_penalty", value)?),
                b"presence_penalty" => options.presence_penalty = Some(float("presence_penalty", value)?),
                b"repeat_penalty" => options.repeat_penalty = Some(float("repeat_penalty", value)?),
                b"top_k" => options.top_k = Some(integer("top_k", value)?),
                b"num_predict" => options.num_predict = Some(integer("num_predict", value)?),
                b"seed" => options.seed = Some(integer("seed", value)?),
                b"repeat_last_n" => options.repeat_last_n = Some(integer("repeat_last_n", value)?),
                b"stop" => options.stop = stop(value)?,
                _ => {}
            }
            Ok::<(), RequestError>(())
        })?;
        Ok(options)
    }
}

fn float<'a>(name: &str, value: RawJson<'a>) -> Result<RawJson<'a>, RequestError> {
    match value.kind() {
        Kind::Number => Ok(value),
        other => Err(RequestError::expected(format_args!("options.{name}"), "a number", other)),
    }
}

/// A whole number; a fraction is cut off, as Ollama does (Home Assistant sends whole numbers as `8192.0`).
fn integer(name: &str, value: RawJson<'_>) -> Result<i64, RequestError> {
    if value.kind() != Kind::Number {
        return Err(RequestError::expected(format_args!("options.{name}"), "an integer", value.kind()));
    }
    let text = std::str::from_utf8(value.bytes()).unwrap_or_default();
    // `as` saturates: 1e400 is the largest number there is.
    Ok(text.parse::<i64>().unwrap_or_else(|_| text.parse::<f64>().unwrap_or_default() as i64))
}

fn stop(value: RawJson<'_>) -> Result<Option<RawJson<'_>>, RequestError> {
    match value.kind() {
        Kind::String => Ok(Some(value).filter(|text| text.as_str().is_some_and(|text| !text.is_empty()))),
        Kind::Array => {
            if let Some(kind) = first_that_is_no_string(value)? {
                return Err(RequestError::expected("options.stop", "an array of strings", kind));
            }
            Ok(Some(value).filter(|list| !list.is_empty_container()))
        }
        other => Err(RequestError::expected("options.stop", "an array of strings", other)),
    }
}

fn first_that_is_no_string(list: RawJson<'_>) -> Result<Option<Kind>, JsonError> {
    let mut other = None;
    list.each_element(|value| {
        if value.kind() != Kind::String {
            other.get_or_insert(value.kind());
        }
        Ok::<(), JsonError>(())
    })?;
    Ok(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Scanner;

    fn read(json: &str) -> Result<Options<'_>, RequestError> {
        Options::read(Scanner::new(json.as_bytes()).value().unwrap())
    }

    #[test]
    fn integers_take_fractions_and_saturate() {
        for (json, expected) in
            [("5", 5), ("5.9", 5), ("-1", -1), ("8192.0", 8192), ("1e3", 1000), ("1e400", i64::MAX)]
        {
            let text = format!(r#"{{"num_predict":{json}}}"#);
            assert_eq!(read(&text).unwrap().num_predict, Some(expected), "{json}");
        }
    }

    #[test]
    fn numbers_that_are_only_moved_stay_as_written() {
        let options = read(r#"{"temperature":0.10,"top_p":1e-1}"#).unwrap();
        assert_eq!(options.temperature.unwrap().bytes(), b"0.10");
        assert_eq!(options.top_p.unwrap().bytes(), b"1e-1");
    }

    #[test]
    fn null_unknown_and_load_time_options_are_passed_over() {
        let json = r#"{"temperature":null,"num_ctx":"lots","mirostat":[],"x":1,"stop":null}"#;
        assert_eq!(read(json), Ok(Options::default()));
        assert_eq!(read("null"), Ok(Options::default()));
    }

    #[test]
    fn stop_takes_a_string_and_a_list_and_drops_empty_ones() {
        assert_eq!(read(r#"{"stop":["a","b"]}"#).unwrap().stop.unwrap().bytes(), br#"["a","b"]"#);
        assert_eq!(read(r#"{"stop":"a"}"#).unwrap().stop.unwrap().bytes(), br#""a""#);
        assert_eq!(read(r#"{"stop":[]}"#).unwrap().stop, None);
        assert_eq!(read(r#"{"stop":""}"#).unwrap().stop, None);
    }

    #[test]
    fn a_wrong_type_names_the_field() {
        let table = [
            (r#"{"num_predict":"10"}"#, "options.num_predict: expected an integer, found string"),
            (r#"{"temperature":"hot"}"#, "options.temperature: expected a number, found string"),
            (r#"{"stop":[1]}"#, "options.stop: expected an array of strings, found number"),
            (r#"{"stop":5}"#, "options.stop: expected an array of strings, found number"),
            (r#"{"top_k":true}"#, "options.top_k: expected an integer, found boolean"),
            ("[]", "options: expected an object, found array"),
        ];
        for (json, expected) in table {
            assert_eq!(read(json).unwrap_err().to_string(), expected);
        }
    }
}
