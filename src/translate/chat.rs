//! `POST /api/chat` to `POST /chat/completions`.

use super::history::{Step, steps};
use super::keepsake::{MadeCall, Recall};
use super::{media, options};
use crate::ollama::{ChatRequest, Message, RequestError, ToolCall};
use crate::openai::{ContentPart, Dialect, RequestWriter, ToolCallRef};
use crate::wire::RawStr;
use bytes::BytesMut;

/// Appends the backend's request; `model` is the backend's name. `recall` knows what the backend put on its calls.
///
/// # Errors
/// When an entry of `images` is no base64.
pub fn write_chat(
    request: &ChatRequest<'_>,
    model: &str,
    dialect: Dialect,
    recall: Recall<'_>,
    out: &mut BytesMut,
) -> Result<(), RequestError> {
    let mut writer = RequestWriter::new(model, dialect, out);
    options::ask_for_format(request.common.format, &mut writer);
    writer.begin_messages();
    write_messages(&request.messages, recall, &mut writer)?;
    writer.end_messages();
    if let Some(tools) = request.tools {
        writer.tools(tools);
    }
    let common = &request.common;
    options::format(common.format, &mut writer);
    options::think(common.think, &mut writer);
    writer.sampling(&options::sampling(&common.options));
    if common.logprobs {
        writer.logprobs(common.top_logprobs);
    }
    writer.finish(common.stream);
    Ok(())
}

fn write_messages(
    messages: &[Message<'_>],
    recall: Recall<'_>,
    writer: &mut RequestWriter<'_>,
) -> Result<(), RequestError> {
    let at = |index: usize| messages.get(index).ok_or_else(|| RequestError::new("messages: out of range"));
    // OpenAI takes pictures from the user only: those of another role follow in a message of the user's, behind the
    // last of a run of results, which nothing may come between.
    let mut pictures: Vec<ContentPart<'_>> = Vec::new();
    for step in steps(messages) {
        if !matches!(step, Step::Result(..) | Step::Unanswered(_)) {
            flush(&mut pictures, writer);
        }
        match step {
            Step::Plain(index) => {
                let message = at(index)?;
                let parts = parts(index, message)?;
                if message.role == "user" && !parts.is_empty() {
                    let text = Some(message.content).filter(|text| !text.is_empty()).map(ContentPart::Text);
                    writer.parts_message("user", &text.into_iter().chain(parts).collect::<Vec<_>>());
                } else {
                    match message.role.as_ref() {
                        "assistant" => writer.assistant_message(message.content, message.thinking),
                        role => writer.text_message(role, message.content),
                    }
                    pictures.extend(parts);
                }
            }
            Step::Calls(index, ids) => {
                let message = at(index)?;
                let kept: Vec<_> = message.tool_calls.iter().map(|call| recall(&made(call))).collect();
                let calls = ids.iter().zip(&message.tool_calls).zip(&kept);
                let calls = calls.map(|((id, call), kept)| ToolCallRef {
                    id,
                    name: call.name,
                    arguments: call.arguments,
                    members: kept.as_deref(),
                });
                writer.calls_message(message.content, message.thinking, &calls.collect::<Vec<_>>());
                pictures.extend(parts(index, message)?);
            }
            Step::Result(index, id) => {
                let message = at(index)?;
                writer.result_message(&id, message.content);
                pictures.extend(parts(index, message)?);
            }
            Step::Stray(index) => {
                let message = at(index)?;
                writer.text_message("user", message.content);
                pictures.extend(parts(index, message)?);
            }
            Step::Unanswered(id) => writer.result_message(&id, RawStr::default()),
        }
    }
    flush(&mut pictures, writer);
    Ok(())
}

fn made<'a>(call: &ToolCall<'a>) -> MadeCall<'a> {
    MadeCall { id: call.id, name: call.name, arguments: call.arguments }
}

fn flush(pictures: &mut Vec<ContentPart<'_>>, writer: &mut RequestWriter<'_>) {
    if !pictures.is_empty() {
        writer.parts_message("user", pictures);
        pictures.clear();
    }
}

fn parts<'a>(index: usize, message: &Message<'a>) -> Result<Vec<ContentPart<'a>>, RequestError> {
    let images = message.images.iter().enumerate();
    images.map(|(n, image)| media::part(&format!("messages[{index}].images[{n}]"), *image)).collect()
}
