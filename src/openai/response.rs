//! [`parse_models`]: the answer of `GET /models`, in every shape backends give it.

use super::Model;
use crate::wire::{Kind, Scanner};
use simd_json::prelude::{ValueAsArray, ValueObjectAccess};

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
    // llama.cpp lists its model twice, in the words of two APIs.
    let again = tree.get("models").filter(|_| tree.get("data").is_some()).and_then(|list| list.as_array());
    for facts in again.into_iter().flatten().filter_map(Model::read) {
        if let Some(model) = models.iter_mut().find(|model| model.id == facts.id) {
            model.learn(facts);
        }
    }
    Ok(models)
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
