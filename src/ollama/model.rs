//! Model names, and the bodies of `/api/tags`, `/api/show` and `/api/ps`.
//!
//! What a backend does not say is left empty or out, not invented: sizes are 0, `format`, `parameter_size` and
//! `quantization_level` are empty texts.

use super::Timestamp;
use crate::wire::JsonWriter;
use bytes::BytesMut;

/// Longest model name taken from a client, in bytes: host, namespace, model and tag of Ollama's grammar are 80 each.
pub const MAX_NAME_BYTES: usize = 350;

/// One entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The name with its tag.
    pub name: String,
    /// 64 hex digits; clients cut it to 12 and tell models apart by it.
    pub digest: String,
    /// When the backend says the model was made.
    pub modified_at: Timestamp,
    /// Bytes of the model's file, 0 when nobody says.
    pub size: u64,
    /// `gguf`, or empty.
    pub format: String,
    /// The architecture where it is known, else who owns the model.
    pub family: String,
    /// The prefix of keys in `model_info`.
    pub architecture: String,
    /// How many parameters the model has, when known.
    pub parameter_count: Option<u64>,
    /// Tokens of context, when known.
    pub context_length: Option<u64>,
    /// Numbers in an embedding, when known.
    pub embedding_length: Option<u64>,
    /// `8.0B`, or empty.
    pub parameter_size: String,
    /// `Q4_K_M`, or empty.
    pub quantization_level: String,
    /// `completion`, `tools`, ...
    pub capabilities: Vec<String>,
}

/// The name as Ollama displays it: with its tag. A backend's identifier with a colon behind the last slash has one.
#[must_use]
pub fn canonical_name(id: &str) -> String {
    if has_tag(id) { id.to_string() } else { [id, ":latest"].concat() }
}

/// Whether two names mean the same model: equal but for case and a `:latest`.
#[must_use]
pub fn same_model(a: &str, b: &str) -> bool {
    without_latest(a).eq_ignore_ascii_case(without_latest(b))
}

fn has_tag(name: &str) -> bool {
    name.rsplit('/').next().is_some_and(|model| model.contains(':'))
}

/// The name without the `:latest` that Ollama's clients add.
#[must_use]
pub fn without_latest(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((model, tag)) if tag.eq_ignore_ascii_case("latest") && !has_tag(model) => model,
        _ => name,
    }
}

/// `/api/tags`: newest first, as Ollama sorts.
pub fn write_tags(models: &[Listed], out: &mut BytesMut) {
    let mut sorted: Vec<&Listed> = models.iter().collect();
    sorted.sort_by_key(|model| std::cmp::Reverse(model.modified_at));
    let mut json = JsonWriter::new(out);
    json.begin_object();
    json.key("models");
    json.begin_array();
    for model in sorted {
        json.begin_object();
        for name in ["name", "model"] {
            json.key(name);
            json.string(&model.name);
        }
        json.key("modified_at");
        write_time(|out| model.modified_at.write(out), &mut json);
        json.key("size");
        json.uint(model.size);
        json.key("digest");
        json.string(&model.digest);
        json.key("details");
        write_details(model, true, &mut json);
        write_capabilities(model, &mut json);
        json.end_object();
    }
    json.end_array();
    json.end_object();
}

/// `/api/show`; `asked` is the name as the client spelt it.
pub fn write_show(model: &Listed, asked: &str, out: &mut BytesMut) {
    let mut json = JsonWriter::new(out);
    json.begin_object();
    json.key("template");
    // Editors look for the suffix to know that a model fills in the middle.
    let inserts = model.capabilities.iter().any(|capability| capability == "insert");
    json.string(if inserts { "{{ .Prompt }}{{ .Suffix }}" } else { "{{ .Prompt }}" });
    json.key("details");
    write_details(model, false, &mut json);
    json.key("model_info");
    json.begin_object();
    json.key("general.architecture");
    json.string(&model.architecture);
    json.key("general.basename");
    json.string(asked);
    if let Some(count) = model.parameter_count {
        json.key("general.parameter_count");
        json.uint(count);
    }
    let lengths = [("context_length", model.context_length), ("embedding_length", model.embedding_length)];
    for (name, length) in lengths {
        if let Some(length) = length {
            json.key_text(&format!("{}.{name}", model.architecture));
            json.uint(length);
        }
    }
    json.end_object();
    write_capabilities(model, &mut json);
    json.key("modified_at");
    write_time(|out| model.modified_at.write(out), &mut json);
    json.end_object();
}

/// `/api/ps`: models and until when each is shown, the latest first. Nothing of them is held in memory here, so the sizes
/// are 0; every key is always there.
pub fn write_ps(models: &[(Listed, Timestamp)], out: &mut BytesMut) {
    let mut sorted: Vec<_> = models.iter().collect();
    sorted.sort_by_key(|(_, expires_at)| std::cmp::Reverse(*expires_at));
    let mut json = JsonWriter::new(out);
    json.begin_object();
    json.key("models");
    json.begin_array();
    for (model, expires_at) in sorted {
        json.begin_object();
        for name in ["name", "model"] {
            json.key(name);
            json.string(&model.name);
        }
        json.key("size");
        json.uint(0);
        json.key("digest");
        json.string(&model.digest);
        json.key("details");
        write_details(model, false, &mut json);
        json.key("expires_at");
        write_time(|out| expires_at.write_micros(out), &mut json);
        json.key("size_vram");
        json.uint(0);
        json.key("context_length");
        json.uint(model.context_length.unwrap_or(0));
        json.end_object();
    }
    json.end_array();
    json.end_object();
}

fn write_details(model: &Listed, with_lengths: bool, json: &mut JsonWriter<'_>) {
    json.begin_object();
    for (name, value) in
        [("parent_model", ""), ("format", model.format.as_str()), ("family", model.family.as_str())]
    {
        json.key(name);
        json.string(value);
    }
    json.key("families");
    json.begin_array();
    json.string(&model.family);
    json.end_array();
    let sizes =
        [("parameter_size", &model.parameter_size), ("quantization_level", &model.quantization_level)];
    for (name, value) in sizes {
        json.key(name);
        json.string(value);
    }
    let lengths = [("context_length", model.context_length), ("embedding_length", model.embedding_length)];
    for (name, length) in lengths {
        if let Some(length) = length.filter(|_| with_lengths) {
            json.key(name);
            json.uint(length);
        }
    }
    json.end_object();
}

/// Always there: a missing list breaks VS Code.
fn write_capabilities(model: &Listed, json: &mut JsonWriter<'_>) {
    json.key("capabilities");
    json.begin_array();
    for capability in &model.capabilities {
        json.string(capability);
    }
    json.end_array();
}

fn write_time(write: impl FnOnce(&mut BytesMut), json: &mut JsonWriter<'_>) {
    let mut text = BytesMut::new();
    write(&mut text);
    json.string(&String::from_utf8_lossy(&text));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        write(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    fn listed(name: &str, seconds: u64) -> Listed {
        Listed {
            name: name.to_string(),
            digest: "ab".repeat(32),
            modified_at: Timestamp::from_unix_seconds(seconds),
            size: 0,
            format: String::new(),
            family: "library".to_string(),
            architecture: "openai".to_string(),
            parameter_count: None,
            context_length: None,
            embedding_length: None,
            parameter_size: String::new(),
            quantization_level: String::new(),
            capabilities: vec!["completion".to_string()],
        }
    }

    #[test]
    fn a_tag_is_added_where_none_is() {
        for (id, name) in [
            ("gpt-5.1", "gpt-5.1:latest"),
            ("qwen3:8b", "qwen3:8b"),
            ("openai/gpt-4o", "openai/gpt-4o:latest"),
            ("host:1/a/b", "host:1/a/b:latest"),
            ("deepseek/r1:free", "deepseek/r1:free"),
        ] {
            assert_eq!(canonical_name(id), name);
        }
    }

    #[test]
    fn case_and_latest_do_not_matter() {
        for (a, b, same) in [
            ("Tiny", "tiny:latest", true),
            ("tiny:LATEST", "TINY", true),
            ("tiny:latest", "tiny:Latest", true),
            ("tiny:8b", "tiny", false),
            ("a:free:latest", "a:free", false),
            ("host:1/a", "host:1/a:latest", true),
        ] {
            assert_eq!(same_model(a, b), same, "{a} {b}");
        }
    }

    #[test]
    fn tags_are_sorted_newest_first_with_every_field() {
        let mut newer = listed("b:latest", 86_400);
        newer.context_length = Some(8192);
        let body = text(|out| write_tags(&[listed("a:latest", 0), newer], out));
        let entry = |name: &str, time: &str, context: &str| {
            format!(
                r#"{{"name":"{name}","model":"{name}","modified_at":"{time}","size":0,"digest":"{}","details":{{"parent_model":"","format":"","family":"library","families":["library"],"parameter_size":"","quantization_level":""{context}}},"capabilities":["completion"]}}"#,
                "ab".repeat(32)
            )
        };
        let expected = format!(
            r#"{{"models":[{},{}]}}"#,
            entry("b:latest", "1970-01-02T00:00:00Z", r#","context_length":8192"#),
            entry("a:latest", "1970-01-01T00:00:00Z", "")
        );
        assert_eq!(body, expected);
        assert_eq!(text(|out| write_tags(&[], out)), r#"{"models":[]}"#);
    }

    #[test]
    fn show_has_what_clients_cannot_do_without() {
        let mut model = listed("a:latest", 0);
        model.context_length = Some(131_072);
        let body = text(|out| write_show(&model, "A", out));
        assert_eq!(
            body,
            r#"{"template":"{{ .Prompt }}","details":{"parent_model":"","format":"","family":"library","families":["library"],"parameter_size":"","quantization_level":""},"model_info":{"general.architecture":"openai","general.basename":"A","openai.context_length":131072},"capabilities":["completion"],"modified_at":"1970-01-01T00:00:00Z"}"#
        );
    }

    #[test]
    fn ps_has_every_key_the_latest_first() {
        let mut longer = listed("b:latest", 0);
        longer.context_length = Some(8192);
        longer.size = 7;
        let second = Timestamp::from_unix_seconds;
        let body = text(|out| write_ps(&[(listed("a:latest", 0), second(60)), (longer, second(61))], out));
        let entry = |name: &str, second: u8, context: u16| {
            format!(
                r#"{{"name":"{name}","model":"{name}","size":0,"digest":"{}","details":{{"parent_model":"","format":"","family":"library","families":["library"],"parameter_size":"","quantization_level":""}},"expires_at":"1970-01-01T00:01:0{second}.000000+00:00","size_vram":0,"context_length":{context}}}"#,
                "ab".repeat(32)
            )
        };
        let expected =
            format!(r#"{{"models":[{},{}]}}"#, entry("b:latest", 1, 8192), entry("a:latest", 0, 0));
        assert_eq!(body, expected);
        assert_eq!(text(|out| write_ps(&[], out)), r#"{"models":[]}"#);
    }
}
