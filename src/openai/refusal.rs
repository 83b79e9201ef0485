//! Errors of the proxy's own, as the clients of `/v1` read them: the types are those that Ollama gives its statuses.

use crate::wire::JsonWriter;
use bytes::BytesMut;

/// `{"error": {"message", "type", "param", "code"}}`
pub fn write_error(message: &str, status: u16, out: &mut BytesMut) {
    let kind = match status {
        400 => "invalid_request_error",
        404 => "not_found_error",
        _ => "api_error",
    };
    let mut json = JsonWriter::new(out);
    json.begin_object();
    json.key("error");
    json.begin_object();
    json.key("message");
    json.string(message);
    json.key("type");
    json.string(kind);
    json.key("param");
    json.null();
    json.key("code");
    json.null();
    json.end_object();
    json.end_object();
}

/// `{"type": "error", "error": {"type", "message"}}`, for the clients of `/v1/messages`
pub fn write_messages_error(message: &str, status: u16, out: &mut BytesMut) {
    let kind = match status {
        400 => "invalid_request_error",
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        _ => "api_error",
    };
    let mut json = JsonWriter::new(out);
    json.begin_object();
    json.key("type");
    json.string("error");
    json.key("error");
    json.begin_object();
    json.key("type");
    json.string(kind);
    json.key("message");
    json.string(message);
    json.end_object();
    json.end_object();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        write(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn errors_have_the_types_of_their_statuses() {
        for (status, openai, anthropic) in [
            (400, "invalid_request_error", "invalid_request_error"),
            (401, "api_error", "authentication_error"),
            (403, "api_error", "permission_error"),
            (404, "not_found_error", "not_found_error"),
            (429, "api_error", "rate_limit_error"),
            (502, "api_error", "api_error"),
            (503, "api_error", "overloaded_error"),
        ] {
            assert_eq!(
                written(|out| write_error("a \"b\"", status, out)),
                format!(r#"{{"error":{{"message":"a \"b\"","type":"{openai}","param":null,"code":null}}}}"#)
            );
            assert_eq!(
                written(|out| write_messages_error("a \"b\"", status, out)),
                format!(r#"{{"type":"error","error":{{"type":"{anthropic}","message":"a \"b\""}}}}"#)
            );
        }
    }
}
