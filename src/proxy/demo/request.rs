//! What the demonstration backend was asked.
//!
//! Reads OpenAI's request bodies as far as the demonstration acts on them: a field it does not act on may hold
//! anything, one it does act on is checked and named in the error. It decides nothing: that is `script`.

use simd_json::OwnedValue;
use simd_json::prelude::*;

use super::field::{Fault, boolean, count, present, string, strings};

/// The model that talks.
pub(super) const TALKS: &str = "demo";
/// The model that only makes embeddings.
pub(super) const EMBEDS: &str = "demo-embed";

/// OpenAI's own limit on one embedding call; past it the request is refused.
const MAX_INPUTS: usize = 2048;

/// OpenAI's own limit on tools. With the next one it bounds the search for them in what was said.
const MAX_TOOLS: usize = 128;

/// Far above the 4 of OpenAI: what a proxy in front should cut is not this script's to test.
const MAX_STOPS: usize = 64;

/// How the answer is to be delivered: what chat and plain completions ask alike.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) is_stream: bool,
    pub(super) include_usage: bool,
    pub(super) max_tokens: usize,
    pub(super) stop: Vec<String>,
}

/// The form the answer must have.
#[derive(Debug)]
pub(super) enum Shape {
    Text,
    /// Any JSON object.
    Object,
    /// A JSON object that fits this schema.
    Schema(OwnedValue),
}

/// A tool the model may call.
#[derive(Debug)]
pub(super) struct Tool {
    pub(super) name: String,
    pub(super) parameters: OwnedValue,
}

/// What the client wants done with the tools.
#[derive(Debug)]
pub(super) enum ToolChoice {
    Auto,
    Never,
    Always,
    Named(String),
}

/// What all the messages, or the prompt, come to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) messages: usize,
    pub(super) characters: usize,
    pub(super) words: usize,
    /// Images, sound and files: counted, not looked at.
    pub(super) attachments: usize,
}

impl Extent {
    fn add(&mut self, text: &str) {
        self.characters += text.chars().count();
        self.words += text.split_whitespace().count();
    }
}

/// `POST /v1/chat/completions`
#[derive(Debug)]
pub(super) struct ChatRequest {
    pub(super) delivery: Delivery,
    pub(super) extent: Extent,
    /// The text of the last user message.
    pub(super) question: String,
    /// The tool results that end the conversation: empty unless its last message is one.
    pub(super) tool_results: Vec<String>,
    pub(super) tools: Vec<Tool>,
    pub(super) tool_choice: ToolChoice,
    pub(super) shape: Shape,
}

/// `POST /v1/completions`
#[derive(Debug)]
pub(super) struct CompletionRequest {
    pub(super) delivery: Delivery,
    pub(super) extent: Extent,
    pub(super) prompt: String,
    pub(super) suffix: Option<String>,
}

/// `POST /v1/embeddings`
#[derive(Debug)]
pub(super) struct EmbeddingRequest {
    pub(super) model: String,
    pub(super) input: Vec<String>,
    pub(super) dimensions: Option<usize>,
    pub(super) is_base64: bool,
}

impl Delivery {
    fn read(root: &OwnedValue) -> Result<Self, Fault> {
        let options = present(root, "stream_options");
        Ok(Self {
            is_stream: boolean(root, "stream")?,
            include_usage: options.map_or(Ok(false), |options| boolean(options, "include_usage"))?,
            max_tokens: match count(root, "max_completion_tokens")? {
                Some(most) => most,
                None => count(root, "max_tokens")?.unwrap_or(usize::MAX),
            },
            stop: match present(root, "stop").map_or(Ok(Vec::new()), |stop| strings(stop, "stop"))? {
                stop if stop.len() > MAX_STOPS => {
                    return Err(Fault::value("stop", &format!("at most {MAX_STOPS} texts")));
                }
                stop => stop,
            },
        })
    }
}

impl ChatRequest {
    pub(super) fn read(root: &OwnedValue) -> Result<Self, Fault> {
        talking_model(root)?;
        let mut request = Self {
            delivery: Delivery::read(root)?,
            extent: Extent::default(),
            question: String::new(),
            tool_results: Vec::new(),
            tools: tools(root)?,
            tool_choice: tool_choice(root)?,
            shape: shape(root)?,
        };
        let messages = present(root, "messages").ok_or_else(|| Fault::missing("messages"))?;
        let list = messages.as_array().ok_or_else(|| Fault::kind("messages", "an array", messages))?;
        if list.is_empty() {
            return Err(Fault::value("messages", "at least one message"));
        }
        for (index, message) in list.iter().enumerate() {
            request.add(message, &format!("messages[{index}]"))?;
        }
        Ok(request)
    }

    fn add(&mut self, message: &OwnedValue, path: &str) -> Result<(), Fault> {
        if message.as_object().is_none() {
            return Err(Fault::kind(path, "an object", message));
        }
        let role_path = format!("{path}.role");
        let role = present(message, "role").ok_or_else(|| Fault::missing(&role_path))?;
        let role = string(role, &role_path)?;
        if !matches!(role, "system" | "developer" | "user" | "assistant" | "tool" | "function") {
            return Err(Fault::value(&role_path, "'system', 'developer', 'user', 'assistant' or 'tool'"));
        }
        let (text, attachments) = content(message, &format!("{path}.content"))?;
        self.extent.messages += 1;
        self.extent.attachments += attachments;
        self.extent.add(&text);
        match role {
            "tool" | "function" => self.tool_results.push(text),
            "user" => {
                self.question = text;
                self.tool_results.clear();
            }
            _ => self.tool_results.clear(),
        }
        Ok(())
    }
}

impl CompletionRequest {
    pub(super) fn read(root: &OwnedValue) -> Result<Self, Fault> {
        talking_model(root)?;
        let prompt = present(root, "prompt").ok_or_else(|| Fault::missing("prompt"))?;
        let mut prompts = strings(prompt, "prompt")?;
        let (Some(prompt), true) = (prompts.pop(), prompts.is_empty()) else {
            return Err(Fault::value("prompt", "one prompt: the demo backend answers them one at a time"));
        };
        let suffix = present(root, "suffix").map(|suffix| string(suffix, "suffix")).transpose()?;
        let mut extent = Extent { messages: 1, ..Extent::default() };
        extent.add(&prompt);
        extent.add(suffix.unwrap_or_default());
        let suffix = suffix.filter(|suffix| !suffix.is_empty()).map(str::to_owned);
        Ok(Self { delivery: Delivery::read(root)?, extent, prompt, suffix })
    }
}

impl EmbeddingRequest {
    pub(super) fn read(root: &OwnedValue) -> Result<Self, Fault> {
        let model = model(root)?.to_owned();
        let input = present(root, "input").ok_or_else(|| Fault::missing("input"))?;
        let input = strings(input, "input")?;
        if input.is_empty() || input.len() > MAX_INPUTS {
            return Err(Fault::value("input", &format!("1 to {MAX_INPUTS} texts")));
        }
        let is_base64 = match present(root, "encoding_format")
            .map(|format| string(format, "encoding_format"))
            .transpose()?
        {
            None | Some("float") => false,
            Some("base64") => true,
            Some(_) => return Err(Fault::value("encoding_format", "'float' or 'base64'")),
        };
        let dimensions = count(root, "dimensions")?;
        if dimensions.is_some_and(|wanted| wanted > super::embedding::DIMENSIONS) {
            return Err(Fault::value("dimensions", &format!("at most {}", super::embedding::DIMENSIONS)));
        }
        Ok(Self { model, input, dimensions, is_base64 })
    }
}

/// The text of a message, which is a string or a list of parts, and how many of the parts are not text.
fn content(message: &OwnedValue, path: &str) -> Result<(String, usize), Fault> {
    let Some(content) = present(message, "content") else {
        return Ok((String::new(), 0)); // an assistant message that only calls tools
    };
    if let Some(text) = content.as_str() {
        return Ok((text.to_owned(), 0));
    }
    let parts = content.as_array().ok_or_else(|| Fault::kind(path, "a string or an array", content))?;
    let mut text = String::new();
    let mut attachments = 0;
    for (index, part) in parts.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let Some(said) = present(part, "text") else {
            if part.as_object().is_none() {
                return Err(Fault::kind(&path, "an object", part));
            }
            attachments += 1;
            continue;
        };
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(string(said, &format!("{path}.text"))?);
    }
    Ok((text, attachments))
}

fn tools(root: &OwnedValue) -> Result<Vec<Tool>, Fault> {
    let Some(tools) = present(root, "tools") else {
        return Ok(Vec::new());
    };
    let list = tools.as_array().ok_or_else(|| Fault::kind("tools", "an array", tools))?;
    if list.len() > MAX_TOOLS {
        return Err(Fault::value("tools", &format!("at most {MAX_TOOLS} tools")));
    }
    list.iter()
        .enumerate()
        .map(|(index, tool)| {
            let path = format!("tools[{index}].function.name");
            let function = present(tool, "function").ok_or_else(|| Fault::missing(&path))?;
            let name = present(function, "name").ok_or_else(|| Fault::missing(&path))?;
            let parameters = present(function, "parameters").cloned().unwrap_or_default();
            Ok(Tool { name: string(name, &path)?.to_owned(), parameters })
        })
        .collect()
}

fn tool_choice(root: &OwnedValue) -> Result<ToolChoice, Fault> {
    let Some(choice) = present(root, "tool_choice") else {
        return Ok(ToolChoice::Auto);
    };
    let named = present(choice, "function").and_then(|function| present(function, "name"));
    match (choice.as_str(), named.and_then(|name| name.as_str())) {
        (Some("auto"), _) => Ok(ToolChoice::Auto),
        (Some("none"), _) => Ok(ToolChoice::Never),
        (Some("required"), _) => Ok(ToolChoice::Always),
        (None, Some(name)) => Ok(ToolChoice::Named(name.to_owned())),
        _ => Err(Fault::value("tool_choice", "'auto', 'none', 'required' or a function's name")),
    }
}

fn shape(root: &OwnedValue) -> Result<Shape, Fault> {
    let Some(format) = present(root, "response_format") else {
        return Ok(Shape::Text);
    };
    match present(format, "type").and_then(|kind| kind.as_str()) {
        Some("text") => Ok(Shape::Text),
        Some("json_object") => Ok(Shape::Object),
        Some("json_schema") => present(format, "json_schema")
            .and_then(|wrapper| present(wrapper, "schema"))
            .map(|schema| Shape::Schema(schema.clone()))
            .ok_or_else(|| Fault::missing("response_format.json_schema.schema")),
        _ => Err(Fault::value("response_format.type", "'text', 'json_object' or 'json_schema'")),
    }
}

fn model(root: &OwnedValue) -> Result<&str, Fault> {
    let name = present(root, "model").ok_or_else(|| Fault::missing("model"))?;
    match string(name, "model")? {
        name @ (TALKS | EMBEDS) => Ok(name),
        other => Err(Fault::unknown_model(other)),
    }
}

fn talking_model(root: &OwnedValue) -> Result<(), Fault> {
    if model(root)? == EMBEDS {
        return Err(Fault::value("model", &format!("'{TALKS}': '{EMBEDS}' only makes embeddings")));
    }
    Ok(())
}
