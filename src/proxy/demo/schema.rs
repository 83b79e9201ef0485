//! Values made up for a JSON schema: the arguments of a tool call, and answers that must have a given form.
//!
//! It reads what tools and clients commonly write (`type`, `properties`, `required`, `items`, `enum`, `const`, `anyOf`,
//! `$ref` into `$defs`) and ignores the rest: the result has the right names and types, it is not checked against
//! `pattern`, `maxLength` and the like.

use simd_json::OwnedValue;
use simd_json::prelude::*;
use simd_json::value::owned::Object;

/// Levels below which everything is null: a schema may refer to itself.
const MAX_DEPTH: usize = 8;

/// Bytes, near enough, of names and values: a schema that refers to itself twice on each level would else grow past
/// all measure. What no longer fits is null.
const BUDGET: usize = 64 * 1024;

/// What one value costs beyond its text.
const VALUE_COST: usize = 16;

/// Makes up values for one schema.
pub(super) struct Filler<'a> {
    root: &'a OwnedValue,
    question: &'a str,
    budget: usize,
}

impl<'a> Filler<'a> {
    /// `question` lends its words to strings that ask for a place or a text.
    pub(super) fn new(root: &'a OwnedValue, question: &'a str) -> Self {
        Self { root, question, budget: BUDGET }
    }

    /// An object with a value for every property.
    pub(super) fn whole(mut self) -> OwnedValue {
        self.object(self.root, false, 0)
    }

    /// An object with a value for every required property; for all of them if none is required.
    pub(super) fn required(mut self) -> OwnedValue {
        self.object(self.root, true, 0)
    }

    fn object(&mut self, schema: &OwnedValue, only_required: bool, depth: usize) -> OwnedValue {
        let mut object = Object::default();
        let properties = schema.get_object("properties");
        let required = schema.get_array("required").map(Vec::as_slice).unwrap_or_default();
        let named = required.iter().filter_map(|name| name.as_str());
        for name in named {
            let schema = properties.and_then(|all| all.get(name)).unwrap_or(&NOTHING);
            object.insert(name.to_owned(), self.value(name, schema, depth + 1));
        }
        if !only_required || required.is_empty() {
            for (name, schema) in properties.into_iter().flatten() {
                if !object.contains_key(name) {
                    object.insert(name.clone(), self.value(name, schema, depth + 1));
                }
            }
        }
        object.into()
    }

    fn value(&mut self, name: &str, schema: &OwnedValue, depth: usize) -> OwnedValue {
        if depth > MAX_DEPTH || !self.spend(name.len()) {
            return OwnedValue::null();
        }
        let first = |field: &str| schema.get_array(field).and_then(|list| list.first());
        if let Some(given) = schema.get("const").or_else(|| first("enum")) {
            return self.copy(given);
        }
        if let Some(inner) = self
            .resolve(schema)
            .or_else(|| first("anyOf"))
            .or_else(|| first("oneOf"))
            .or_else(|| first("allOf"))
        {
            return self.value(name, inner, depth + 1);
        }
        match kind(schema) {
            "object" => self.object(schema, false, depth),
            "array" => {
                let item = self.value(name, schema.get("items").unwrap_or(&NOTHING), depth + 1);
                vec![item].into()
            }
            "integer" => schema.get_i64("minimum").unwrap_or(1).into(),
            "number" => schema.get("minimum").and_then(|least| least.cast_f64()).unwrap_or(1.5).into(),
            "boolean" => true.into(),
            "null" => OwnedValue::null(),
            _ => self.text(name).into(),
        }
    }

    /// `#/$defs/Name`, as every schema generator writes it.
    fn resolve(&self, schema: &OwnedValue) -> Option<&'a OwnedValue> {
        let target = schema.get_str("$ref")?;
        let (section, name) = target.strip_prefix("#/")?.split_once('/')?;
        self.root.get(section)?.get(name)
    }

    fn copy(&mut self, given: &OwnedValue) -> OwnedValue {
        let is_nested = given.as_array().is_some() || given.as_object().is_some();
        if is_nested || !self.spend(given.as_str().map_or(0, str::len)) {
            return OwnedValue::null();
        }
        given.clone()
    }

    fn text(&mut self, name: &str) -> String {
        let name = name.to_ascii_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
        let text = if has(&["city", "location", "place", "town"]) {
            place(self.question).unwrap_or_else(|| "Paris".to_owned())
        } else if has(&["query", "question", "text", "prompt", "message"]) {
            self.question.chars().take(200).collect()
        } else {
            "demo".to_owned()
        };
        if self.spend(text.len()) { text } else { String::new() }
    }

    fn spend(&mut self, bytes: usize) -> bool {
        let left = self.budget.checked_sub(bytes + VALUE_COST);
        self.budget = left.unwrap_or(0);
        left.is_some()
    }
}

/// The schema of which nothing is known.
const NOTHING: OwnedValue = OwnedValue::Static(simd_json::StaticNode::Null);

/// The type a schema asks for: the first that is not null of several, or what its other fields imply.
fn kind(schema: &OwnedValue) -> &str {
    let several =
        || schema.get_array("type")?.iter().filter_map(|kind| kind.as_str()).find(|kind| *kind != "null");
    let implied = if schema.contains_key("properties") {
        "object"
    } else if schema.contains_key("items") {
        "array"
    } else {
        "string"
    };
    schema.get_str("type").or_else(several).unwrap_or(implied)
}

/// The place a question speaks of: up to three capitalised words after "in", "for" or "at".
fn place(question: &str) -> Option<String> {
    let mut words = question.split_whitespace();
    words.by_ref().find(|word| ["in", "for", "at"].contains(&word.to_ascii_lowercase().as_str()))?;
    let mut place: Vec<&str> = Vec::new();
    for word in words.take(3) {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        if !bare.starts_with(|c: char| c.is_uppercase() || !c.is_ascii()) {
            break;
        }
        place.push(bare);
        if !word.ends_with(bare) {
            break; // a comma or a question mark ends the name
        }
    }
    (!place.is_empty()).then(|| place.join(" ").chars().take(80).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use simd_json::json;

    #[test]
    fn required_properties_get_a_value_of_their_type() {
        let schema = json!({"required": ["location", "days", "unit", "loud", "share", "tags", "odd"], "properties": {
            "location": {"type": "string"}, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            "days": {"type": "integer", "minimum": 3}, "loud": {"type": "boolean"},
            "share": {"type": ["null", "number"]}, "tags": {"type": "array", "items": {"type": "string"}},
            "optional": {"type": "string"}}});
        let made = Filler::new(&schema, "What is the weather in New York, please?").required();
        let expected = json!({"location": "New York", "days": 3, "unit": "celsius", "loud": true, "share": 1.5,
            "tags": ["demo"], "odd": "demo"});
        assert_eq!(made, expected);
    }

    #[test]
    fn references_and_nested_objects_are_followed() {
        let schema = json!({"$defs": {"Size": {"enum": ["small", "large"]}}, "properties": {
            "size": {"$ref": "#/$defs/Size"},
            "pet": {"anyOf": [{"properties": {"age": {"type": "integer"}}}, {"type": "null"}]}}});
        assert_eq!(Filler::new(&schema, "").whole(), json!({"size": "small", "pet": {"age": 1}}));
        assert_eq!(
            Filler::new(&json!({"properties": {"a": {"type": "null"}}}), "").required(),
            json!({"a": null})
        );
        assert_eq!(Filler::new(&json!(null), "").required(), json!({}));
    }

    #[test]
    fn a_schema_that_contains_itself_stays_within_the_budget() {
        let names: Vec<String> = (0..60).map(|n| format!("\"p{n}\":{{\"$ref\":\"#/$defs/T\"}}")).collect();
        let tree = format!("{{\"properties\":{{{}}}}}", names.join(","));
        let mut text =
            format!("{{\"$ref\":\"#/$defs/T\",\"$defs\":{{\"T\":{tree}}},\"properties\":{{\"t\":{tree}}}}}")
                .into_bytes();
        let schema = simd_json::to_owned_value(&mut text).unwrap();
        let made = Filler::new(&schema, "").whole().encode();
        assert!(made.len() < 4 * BUDGET, "{} bytes", made.len());
    }

    #[test]
    fn places_are_found_or_left_alone() {
        assert_eq!(place("weather in Toronto?").as_deref(), Some("Toronto"));
        assert_eq!(place("how warm will it be in São Paulo tomorrow").as_deref(), Some("São Paulo"));
        assert_eq!(place("weather at 東京").as_deref(), Some("東京"));
        assert_eq!(place("what is the weather in"), None);
        assert_eq!(place("in general, is it cold"), None);
    }
}
