//! `POST /api/generate` to `POST /chat/completions`, or to `POST /completions` where a chat template would be wrong:
//! `raw` is the prompt as it stands, and `suffix` (fill in the middle) has no place in a chat.

use super::{media, options};
use crate::ollama::{GenerateRequest, RequestError};
use crate::openai::{ContentPart, Dialect, RequestWriter};
use bytes::BytesMut;

/// Whether the request goes to `/completions`.
#[must_use]
pub fn is_completion(request: &GenerateRequest<'_>) -> bool {
    request.raw || !request.suffix.is_empty()
}

/// Appends the backend's request; `model` is the backend's name.
///
/// # Errors
/// When an entry of `images` is no base64, or pictures stand beside `raw` or `suffix`.
pub fn write_generate(
    request: &GenerateRequest<'_>,
    model: &str,
    dialect: Dialect,
    out: &mut BytesMut,
) -> Result<(), RequestError> {
    let mut writer = RequestWriter::new(model, dialect, out);
    if is_completion(request) {
        if !request.images.is_empty() {
            return Err(RequestError::new(
                "images: cannot be sent with raw or suffix; leave one of them out",
            ));
        }
        writer.prompt(request.prompt, request.suffix);
    } else {
        write_messages(request, &mut writer)?;
        options::format(request.common.format, &mut writer);
        options::think(request.common.think, &mut writer);
        if request.common.logprobs {
            writer.logprobs(request.common.top_logprobs);
        }
    }
    writer.sampling(&options::sampling(&request.common.options));
    writer.finish(request.common.stream);
    Ok(())
}

fn write_messages(request: &GenerateRequest<'_>, writer: &mut RequestWriter<'_>) -> Result<(), RequestError> {
    options::ask_for_format(request.common.format, writer);
    writer.begin_messages();
    if !request.system.is_empty() {
        writer.text_message("system", request.system);
    }
    if request.images.is_empty() {
        writer.text_message("user", request.prompt);
    } else {
        let images = request.images.iter().enumerate();
        let mut parts = vec![ContentPart::Text(request.prompt)];
        for (n, image) in images {
            parts.push(media::part(&format!("images[{n}]"), *image)?);
        }
        writer.parts_message("user", &parts);
    }
    writer.end_messages();
    Ok(())
}
