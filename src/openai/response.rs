//! [`parse_models`]: the answer of `GET /models`, in every shape backends give it.

use super::Model;
use crate::wire::{JsonError, Kind, RawJson, Scanner};

/// Most entries of a list that are read, since each is compared with those before it, and the longest of one.
const MAX_MODELS: usize = 10_000;
const MAX_ENTRY_BYTES: usize = 256 << 10;

/// Reads `{"data":[...]}`, `{"models":[...]}` or a bare array; entries without an identifier are passed over, of equal
/// ones the first is kept.
///
/// # Errors
/// A text that says what was found instead.
pub fn parse_models(body: &[u8]) -> Result<Vec<Model>, &'static str> {
    // The scanner's depth limit comes before the parser that builds a tree.
    let value = Scanner::new(body.trim_ascii()).value().map_err(not_json)?;
    let (mut data, mut other) = (None, None);
    match value.kind() {
        Kind::Array => data = Some(value),
        Kind::Object => value
            .each_member(|name, value| {
                match name {
                    b"data" => data = Some(value),
                    b"models" => other = Some(value),
                    _ => {}
                }
                Ok::<(), JsonError>(())
            })
            .map_err(not_json)?,
        _ => return Err("its model list is neither an object nor an array"),
    }
    let is_array = |list: &RawJson<'_>| list.kind() == Kind::Array;
    let list =
        data.filter(is_array).or(other.filter(is_array)).or(data).ok_or("its model list has no `data`")?;
    let mut models: Vec<Model> = Vec::new();
    each_model(list, |model| {
        if !models.iter().any(|known| known.id == model.id) {
            models.push(model);
        }
    })?;
    // llama.cpp lists its model twice, in the words of two APIs.
    if let Some(again) = other.filter(|_| data.is_some()) {
        each_model(again, |facts| {
            if let Some(model) = models.iter_mut().find(|model| model.id == facts.id) {
                model.learn(facts);
            }
        })?;
    }
    Ok(models)
}

/// Calls `take` with each of the first [`MAX_MODELS`] entries that is a model. Only one tree is held at a time.
fn each_model(list: RawJson<'_>, mut take: impl FnMut(Model)) -> Result<(), &'static str> {
    let mut count = 0;
    let each = list.each_element(|entry| {
        count += 1;
        if count <= MAX_MODELS && entry.bytes().len() <= MAX_ENTRY_BYTES {
            let mut copy = entry.bytes().to_vec();
            let tree = simd_json::to_borrowed_value(&mut copy);
            tree.ok().as_ref().and_then(Model::read).into_iter().for_each(&mut take);
        }
        Ok::<(), JsonError>(())
    });
    each.map_err(not_json)
}

fn not_json(_: JsonError) -> &'static str {
    "its model list is not JSON"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_list_without_measure_a_beginning_is_read() {
        let list = |entries: &[String]| parse_models(format!("[{}]", entries.join(",")).as_bytes()).unwrap();
        let many: Vec<String> = (0..MAX_MODELS + 5).map(|n| format!(r#"{{"id":"{n}"}}"#)).collect();
        let models = list(&many);
        assert_eq!((models.len(), models.last().unwrap().id.as_str()), (MAX_MODELS, "9999"));
        // What is no model counts too: it costs the same.
        let nothing = vec!["{}".to_string(); MAX_MODELS - 1];
        let behind = [nothing, vec![r#"{"id":"a"}"#.into(), r#"{"id":"b"}"#.into()]].concat();
        assert_eq!(list(&behind).len(), 1);
        let long = |len: usize| format!(r#"{{"id":"a","x":"{}"}}"#, "x".repeat(len - 17));
        assert_eq!(list(&[long(MAX_ENTRY_BYTES)]).len(), 1);
        assert_eq!(list(&[long(MAX_ENTRY_BYTES + 1), r#"{"id":"b"}"#.into()])[0].id, "b");
    }

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
