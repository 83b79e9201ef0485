//! [`parse_models`]: the answer of `GET /models`, in every shape backends give it.

use crate::wire::{Kind, Scanner};
use simd_json::BorrowedValue;
use simd_json::prelude::{ValueAsArray, ValueAsScalar, ValueObjectAccess};

/// Longest identifier taken from a list, in bytes.
const MAX_ID_BYTES: usize = 256;

/// One model of the backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// What the backend wants to read in `model`; opaque.
    pub id: String,
    /// Seconds since 1970; some backends do not say.
    pub created: Option<u64>,
    /// Who owns it; some backends do not say.
    pub owned_by: Option<String>,
    /// Tokens of context, under the name that this kind of backend uses.
    pub context_length: Option<u64>,
}

/// Reads `{"data":[...]}`, `{"models":[...]}` or a bare array; entries without an identifier are passed over, of equal
/// ones the first is kept.
///
/// # Errors
/// A text that says what was found instead.
pub fn parse_models(body: &[u8]) -> Result<Vec<Model>, &'static str> {
    // The scanner's depth limit comes before the parser that builds a tree.
    let value = Scanner::new(body.trim_ascii()).value().map_err(|_| "its model list is not JSON")?;
    if !matches!(value.kind(), Kind::Object | Kind::Array) {
        return Err("its model list is neither an object nor an array");
    }
    let mut copy = value.bytes().to_vec();
    let tree = simd_json::to_borrowed_value(&mut copy).map_err(|_| "its model list is not JSON")?;
    let list = tree
        .as_array()
        .or_else(|| tree.get("data").and_then(|data| data.as_array()))
        .or_else(|| tree.get("models").and_then(|models| models.as_array()))
        .or_else(|| tree.get("data").map(|_| const { &Vec::new() }))
        .ok_or("its model list has no `data`")?;
    let mut models: Vec<Model> = Vec::with_capacity(list.len());
    for model in list.iter().filter_map(Model::read) {
        if !models.iter().any(|known| known.id == model.id) {
            models.push(model);
        }
    }
    Ok(models)
}

impl Model {
    fn read(entry: &BorrowedValue<'_>) -> Option<Self> {
        let text = |name: &str| entry.get(name).and_then(|value| value.as_str());
        let number = |entry: &BorrowedValue<'_>, names: &[&str]| {
            names
                .iter()
                .find_map(|name| entry.get(*name))
                .and_then(|value| value.cast_f64())
                .map(|number| number as u64)
        };
        let id = text("id").or_else(|| text("name")).or_else(|| text("model"))?;
        if id.is_empty() || id.len() > MAX_ID_BYTES {
            return None;
        }
        let context_names = ["context_length", "max_model_len", "context_window", "max_context_length"];
        let context_length = number(entry, &context_names)
            .or_else(|| entry.get("meta").and_then(|meta| number(meta, &["n_ctx", "n_ctx_train"])));
        Some(Model {
            id: id.to_string(),
            created: number(entry, &["created"]),
            owned_by: text("owned_by").filter(|owner| !owner.is_empty()).map(str::to_string),
            context_length: context_length.filter(|tokens| *tokens > 0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(body: &str) -> Vec<String> {
        parse_models(body.as_bytes()).unwrap().into_iter().map(|model| model.id).collect()
    }

    #[test]
    fn every_shape_of_the_list() {
        assert_eq!(ids(r#"{"object":"list","data":[{"id":"a"},{"id":"b","x":[]}]}"#), ["a", "b"]);
        assert_eq!(ids(r#"[{"id":"a"},{"id":"a"},{},{"id":""},{"id":5}]"#), ["a"]);
        assert_eq!(ids(r#"{"models":[{"name":"a"}]}"#), ["a"]);
        assert_eq!(ids(r#"{"data":null}"#), Vec::<String>::new());
    }

    #[test]
    fn facts_that_backends_give() {
        let body = r#"{"data":[{"id":"a","created":5,"owned_by":"o","max_model_len":8192},
            {"id":"b","context_length":4096.0,"owned_by":""},{"id":"c","meta":{"n_ctx_train":512}}]}"#;
        let models = parse_models(body.as_bytes()).unwrap();
        assert_eq!((models[0].created, models[0].owned_by.as_deref()), (Some(5), Some("o")));
        let contexts: Vec<_> = models.iter().map(|model| model.context_length).collect();
        assert_eq!(contexts, [Some(8192), Some(4096), Some(512)]);
        assert_eq!((models[1].created, &models[1].owned_by), (None, &None));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for body in ["", "x", "{}", "5", r#"{"error":"no"}"#, "<html>"] {
            assert!(parse_models(body.as_bytes()).is_err(), "{body}");
        }
    }
}
