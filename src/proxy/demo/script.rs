//! What the demonstration model says: the same words for the same conversation, and true ones.
//!
//! It answers one question properly, repeats any other, calls a tool when the question is about one, and completes a
//! function's body. It is no model and says so. It knows nothing of HTTP or of chunks: that is `envelope`.

use simd_json::prelude::*;
use simd_json::{OwnedValue, json};

use super::request::{ChatRequest, CompletionRequest, Delivery, Extent, Shape, Tool, ToolChoice};
use super::schema::Filler;

/// The most that is repeated of a question or of a tool's result: past it stands an ellipsis.
const MAX_QUOTE: usize = 300;

/// Characters in one fragment of a tool call's arguments: about a token, as OpenAI cuts them.
const FRAGMENT: usize = 5;

/// The question the tour asks. The answer has a letter from another script and a character outside the basic plane, so
/// that whoever watches it arrive has seen the whole path carry them.
const SKY: &str = "Sunlight looks white but holds every colour. On its way down it meets the molecules of the air, \
    which are far smaller than a wavelength of light and scatter short waves much more than long ones: blue about five \
    times as strongly as red. So blue reaches your eyes from every side, and the sky, 空 in Japanese, looks blue; \
    violet is scattered even more, but there is less of it in sunlight and our eyes see it poorly. At sunset the light \
    crosses so much air that the blue is gone from the straight path, and what is left is orange and red. 🌅";

/// One answer, cut into the units in which it is streamed and counted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Words, each with the space before it.
    Text { words: Vec<String>, finish_reason: &'static str },
    /// One call of a tool, its arguments in fragments that together are one JSON object.
    ToolCall { name: String, arguments: Vec<String> },
}

impl Answer {
    /// What the answer counts for in `usage`, and in how many units it is paced.
    pub(super) fn tokens(&self) -> usize {
        match self {
            Self::Text { words, .. } => words.len(),
            Self::ToolCall { arguments, .. } => arguments.len(),
        }
    }
}

/// The answer to a conversation. A tool call is not cut by `max_tokens`: half a call would help nobody.
pub(super) fn chat(request: &ChatRequest) -> Answer {
    if !request.tool_results.is_empty() {
        return text(&report(&request.tool_results), &request.delivery);
    }
    if let Some(tool) = called(request) {
        let arguments = Filler::new(&tool.parameters, &request.question).required().encode();
        return Answer::ToolCall { name: tool.name.clone(), arguments: fragments(&arguments) };
    }
    let said = match &request.shape {
        Shape::Text => talk(&request.question, &request.extent),
        Shape::Object => object(request).encode_pp(),
        Shape::Schema(schema) => Filler::new(schema, &request.question).whole().encode_pp(),
    };
    text(&said, &request.delivery)
}

/// The continuation of a prompt, or what fits between a prompt and a suffix.
pub(super) fn completion(request: &CompletionRequest) -> Answer {
    let said = match &request.suffix {
        Some(suffix) => insertion(&request.prompt, suffix),
        None => talk(&request.prompt, &request.extent),
    };
    text(&said, &request.delivery)
}

fn talk(question: &str, extent: &Extent) -> String {
    let lower = question.to_lowercase();
    if lower.contains("sky") && lower.contains("blue") {
        return SKY.to_owned();
    }
    let asked = match question.trim() {
        "" => "You asked nothing yet.".to_owned(),
        question => format!("You asked: “{}”.", quote(question)),
    };
    let messages = counted(extent.messages, "message");
    let characters = counted(extent.characters, "character");
    let attachments = match extent.attachments {
        0 => String::new(),
        count => format!(" and {}", counted(count, "attachment")),
    };
    format!(
        "Hello, or こんにちは! 👋 I am demo, the stand-in built into ollama-openai-proxy: no model, only a script. {asked} \
         Your request reached me as {messages} of {characters}{attachments}, in OpenAI's words; if you spoke Ollama's, \
         the proxy between us translated both ways. For answers worth having, stop me, set OPENAI_API_BASE_URL to \
         a real backend and OPENAI_API_KEY to its key, and start ollama-openai-proxy again without the word demo."
    )
}

fn report(results: &[String]) -> String {
    let quoted: Vec<String> =
        results.iter().take(8).map(|result| format!("“{}”", quote(result.trim()))).collect();
    let tool = if results.len() == 1 { "tool" } else { "tools" };
    format!(
        "The {tool} answered {}. A real model would now put that into words of its own. 👍",
        quoted.join(" and ")
    )
}

fn object(request: &ChatRequest) -> OwnedValue {
    json!({
        "model": "demo",
        "question": quote(request.question.trim()),
        "messages": request.extent.messages,
        "answer": "JSON was asked for, so JSON it is ✅",
    })
}

/// The tool to call, if the conversation asks for one: the tool named, else one for the weather if that is the subject,
/// else the first.
fn called(request: &ChatRequest) -> Option<&Tool> {
    let question = request.question.to_lowercase();
    let named = || request.tools.iter().find(|tool| question.contains(&tool.name.to_lowercase()));
    let weather = || request.tools.iter().find(|tool| tool.name.to_lowercase().contains("weather"));
    let first = request.tools.first();
    match &request.tool_choice {
        ToolChoice::Never => None,
        ToolChoice::Named(name) => request.tools.iter().find(|tool| tool.name == *name),
        ToolChoice::Always => named().or(first),
        ToolChoice::Auto if question.contains("weather") => named().or_else(weather).or(first),
        ToolChoice::Auto if question.contains("tool") => named().or(first),
        ToolChoice::Auto => named(),
    }
}

/// What fits in the middle: the body of the last function begun in the prompt, or else words.
fn insertion(prompt: &str, suffix: &str) -> String {
    if let Some(head) = prompt.lines().rev().find(|line| line.contains('(') && is_function(line)) {
        return body(prompt, head.trim(), suffix);
    }
    let before = if prompt.ends_with(char::is_whitespace) { "" } else { " " };
    let after = if suffix.starts_with(char::is_whitespace) { "" } else { " " };
    format!("{before}(here a real model would write what leads from the one to the other){after}")
}

fn is_function(line: &str) -> bool {
    line.split_whitespace().any(|word| matches!(word, "def" | "fn" | "function"))
}

/// The body of a function: the sum of its parameters, in the language its head is written in.
fn body(prompt: &str, head: &str, suffix: &str) -> String {
    let inside = head.split_once('(').map_or("", |(_, rest)| rest.split(')').next().unwrap_or(rest));
    let names: Vec<&str> = inside
        .split(',')
        .filter_map(|parameter| parameter.split([':', '=']).next())
        .map(str::trim)
        .filter(|name| !name.is_empty() && !name.contains("self"))
        .collect();
    let sum = if names.is_empty() { "0".to_owned() } else { names.join(" + ") };
    let last = prompt.lines().last().unwrap_or_default();
    if last.trim_end().ends_with("return") {
        let space = if last.ends_with("return") { " " } else { "" };
        return format!("{space}{sum}");
    }
    let is_rust = head.split_whitespace().any(|word| word == "fn");
    let statement = if is_rust { sum } else { format!("return {sum}") };
    let indent = if !prompt.ends_with('\n') && last.trim() != "" {
        "\n    "
    } else if last.is_empty() || prompt.ends_with('\n') {
        "    "
    } else {
        "" // the prompt ends in an indent already
    };
    let end = if suffix.starts_with('\n') { "" } else { "\n" };
    format!("{indent}{statement}{end}")
}

/// Applies `stop` and `max_tokens` and cuts the text into words.
fn text(said: &str, delivery: &Delivery) -> Answer {
    let stops = delivery.stop.iter().filter(|stop| !stop.is_empty());
    let end = stops.filter_map(|stop| said.find(stop.as_str())).min().unwrap_or(said.len());
    let mut words = words(said.get(..end).unwrap_or(said));
    let finish_reason = if words.len() > delivery.max_tokens { "length" } else { "stop" };
    words.truncate(delivery.max_tokens);
    Answer::Text { words, finish_reason }
}

/// Cuts before every run of white space, so that the pieces put together are the text again.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut was_space = true;
    for c in text.chars() {
        let is_space = c.is_whitespace();
        match words.last_mut() {
            Some(word) if was_space || !is_space => word.push(c),
            _ => words.push(c.into()),
        }
        was_space = is_space;
    }
    words
}

fn fragments(arguments: &str) -> Vec<String> {
    let characters: Vec<char> = arguments.chars().collect();
    characters.chunks(FRAGMENT).map(|chunk| chunk.iter().collect()).collect()
}

fn quote(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTE) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or(text)),
        None => text.to_owned(),
    }
}

fn counted(count: usize, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_put_together_are_the_text() {
        for text in ["", " ", "one", " two words", "end \n", "{\n  \"a\": 1\n}", SKY] {
            assert_eq!(words(text).concat(), text);
        }
        assert_eq!(words("a b  c\n"), ["a", " b", "  c", "\n"]);
    }

    #[test]
    fn a_stop_cuts_before_it_and_the_limit_cuts_after_it() {
        let delivery = |max_tokens, stop: &[&str]| Delivery {
            is_stream: true,
            include_usage: false,
            max_tokens,
            stop: stop.iter().map(|stop| (*stop).to_owned()).collect(),
        };
        let cut = |delivery| match text("one two three four", &delivery) {
            Answer::Text { words, finish_reason } => (words.concat(), finish_reason),
            call => panic!("{call:?}"),
        };
        assert_eq!(cut(delivery(usize::MAX, &["", "four", "three"])), ("one two ".to_owned(), "stop"));
        assert_eq!(cut(delivery(2, &[])), ("one two".to_owned(), "length"));
        assert_eq!(cut(delivery(4, &[])), ("one two three four".to_owned(), "stop"));
        assert_eq!(cut(delivery(1, &["one"])), (String::new(), "stop"));
    }

    #[test]
    fn insertions_fit_between_prompt_and_suffix() {
        let cases = [
            ("def add(a, b):\n    return ", "\n\nprint(add(1, 2))", "a + b"),
            ("def add(a: int, b=2):", "\nprint(add(1))", "\n    return a + b"),
            ("def add(a, b):\n    ", "\n", "return a + b"),
            ("fn add(a: i32, b: i32) -> i32 {\n", "}", "    a + b\n"),
            ("function add(a, b) {", "\n}", "\n    return a + b"),
            (
                "Once upon a time",
                "they lived happily.",
                " (here a real model would write what leads from the one to the other) ",
            ),
        ];
        for (prompt, suffix, expected) in cases {
            assert_eq!(insertion(prompt, suffix), expected, "for {prompt:?}");
        }
    }

    #[test]
    fn any_question_is_repeated_and_the_way_on_is_named() {
        let extent = Extent { messages: 1, characters: 5, words: 1, attachments: 2 };
        let said = talk("Héllo", &extent);
        for part in [
            "“Héllo”",
            "1 message of 5 characters and 2 attachments",
            "OPENAI_API_BASE_URL",
            "OPENAI_API_KEY",
        ] {
            assert!(said.contains(part), "{part} is not in: {said}");
        }
        assert!(talk("Why is the SKY blue?", &extent).starts_with("Sunlight"));
        assert!(talk(&"long ".repeat(100_000), &extent).len() < 2000);
    }
}
