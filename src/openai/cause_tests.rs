//! Errors as backends word them, each with what it is about.

use super::*;

fn cause(status: u16, body: &str) -> Cause {
    ApiError::read(body.as_bytes()).cause(status)
}

/// Checks rows of a status and a body.
fn all_are(expected: Cause, rows: &[(u16, &str)]) {
    for (status, body) in rows {
        assert_eq!(cause(*status, body), expected, "{status} {body}");
    }
}

#[test]
fn e12_a_missing_model_is_known_by_code_or_words_with_every_status() {
    all_are(
        Cause::Model,
        &[
            (404, r#"{"error":{"message":"x","code":"model_not_found"}}"#),
            (404, r#"{"object":"error","message":"The model `x` does not exist.","code":404}"#),
            (404, r#"{"error":"model 'x' not found"}"#),
            // Azure
            (
                404,
                r#"{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist."}}"#,
            ),
            // Together, Gemini, Anthropic's sort of a text, Fireworks
            (
                404,
                r#"{"error":{"message":"Unable to access model x. Please visit the list","type":"invalid_request_error"}}"#,
            ),
            (
                404,
                r#"[{"error":{"code":404,"message":"models/x is not found for API version v1main","status":"NOT_FOUND"}}]"#,
            ),
            (404, r#"{"error":{"message":"Model not found, inaccessible, and/or not deployed"}}"#),
            // OpenRouter, of a name that nobody serves and of one that is none
            (404, r#"{"error":{"message":"No endpoints found for a/b.","code":404}}"#),
            (400, r#"{"error":{"message":"a/b is not a valid model ID","code":400}}"#),
            // DeepSeek, Mistral, Perplexity, LiteLLM, the router of Hugging Face, LM Studio
            (
                400,
                r#"{"error":{"message":"Model Not Exist","type":"invalid_request_error","code":"invalid_request_error"}}"#,
            ),
            (
                400,
                r#"{"object":"error","message":"Invalid model: x","type":"invalid_model","param":null,"code":"1500"}"#,
            ),
            (
                400,
                r#"{"error":{"message":"Invalid model 'x'. Permitted models can be found in the documentation","type":"invalid_model","code":400}}"#,
            ),
            (
                400,
                r#"{"error":{"message":"/chat/completions: Invalid model name passed in model=x. Call `/v1/models`","code":"400"}}"#,
            ),
            (
                400,
                r#"{"error":{"message":"The requested model 'x' does not exist","param":"model","code":"model_not_found"}}"#,
            ),
            (400, r#"{"error":"The model x was not found. Load it first"}"#),
            // A project without the model, and a gateway without a channel for it
            (
                403,
                r#"{"error":{"message":"Project `p` does not have access to model `x`","code":"model_not_found"}}"#,
            ),
            (
                503,
                r#"{"error":{"message":"No available channel for model x","type":"new_api_error","code":"model_not_found"}}"#,
            ),
        ],
    );
}

#[test]
fn e13_a_refused_key_is_known_with_a_401_and_by_words_with_a_400() {
    all_are(
        Cause::Key,
        &[
            (401, ""),
            (401, r#"{"error":{"message":"User not found.","code":401}}"#),
            (
                400,
                r#"[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT"}}]"#,
            ),
            (
                400,
                r#"{"code":"Client specified an invalid argument","error":"Incorrect API key provided: xa***ey."}"#,
            ),
        ],
    );
    all_are(
        Cause::Denied,
        &[
            (403, ""),
            (403, r#"{"error":{"message":"Your input was flagged","code":403}}"#),
            (403, "<html><title>Attention Required!</title></html>"),
        ],
    );
}

#[test]
fn a_404_is_the_path_only_where_nothing_else_is_said() {
    all_are(
        Cause::Endpoint,
        &[
            (404, ""),
            (405, ""),
            (404, r#"{"detail":"Not Found"}"#),
            (404, "404 page not found"),
            (404, "<html><title>404 Not Found</title></html>"),
            (404, r#"{"error":{"message":"Invalid URL (POST /v1/v1/chat/completions)"}}"#),
            (404, r#"{"error":{"code":"404","message":"Resource not found"}}"#),
            (502, r#"{"error":"Unexpected endpoint or method. (POST /chat/completions)"}"#),
        ],
    );
    all_are(
        Cause::Unserved,
        &[
            (404, r#"{"error":{"message":"No endpoints found that support image input","code":404}}"#),
            (
                404,
                r#"{"error":{"message":"No endpoints found matching your data policy (Free model publication).","code":404}}"#,
            ),
            (
                404,
                r#"{"error":{"message":"No allowed providers are available for the selected model.","code":404}}"#,
            ),
            (
                404,
                r#"{"error":{"message":"This is not a chat model and thus not supported in the v1/chat/completions endpoint. Did you mean to use v1/completions?","param":"model","code":null}}"#,
            ),
            (
                404,
                r#"{"error":{"message":"This model is only supported in v1/responses and not in v1/chat/completions.","param":"model","code":null}}"#,
            ),
        ],
    );
}

#[test]
fn a_text_that_is_too_long_is_known_by_code_or_words() {
    all_are(
        Cause::Length,
        &[
            (400, r#"{"error":{"message":"x","code":"context_length_exceeded"}}"#),
            (
                400,
                r#"{"error":{"message":"This model's maximum context length is 8192 tokens, however you requested 9000 tokens"}}"#,
            ),
            (
                400,
                r#"{"error":{"code":400,"message":"input (600 tokens) is larger than the max context size (512 tokens). skipping","type":"exceed_context_size_error"}}"#,
            ),
            (
                500,
                r#"{"error":{"code":500,"message":"the request exceeds the available context size. try increasing the context size","type":"server_error"}}"#,
            ),
            (
                500,
                r#"{"error":{"code":500,"message":"input is too large to process. increase the physical batch size","type":"server_error"}}"#,
            ),
            (
                413,
                r#"{"error":"Input validation error: `inputs` must have less than 512 tokens. Given: 600","error_type":"Validation"}"#,
            ),
            (
                422,
                r#"{"error":"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 9000","error_type":"validation"}"#,
            ),
            (400, r#"{"message":"Input id 0 has 9000 tokens, exceeds model limit of 8192"}"#),
            (400, r#"{"message":"too many tokens: size limit exceeded"}"#),
            (
                400,
                r#"{"object":"error","message":"The input (9000 tokens) is longer than the model's context length (8192 tokens)."}"#,
            ),
            (
                502,
                r#"{"error":"Trying to keep the first 9000 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens"}"#,
            ),
            (
                400,
                r#"[{"error":{"code":400,"message":"The input token count (1048577) exceeds the maximum number of tokens allowed (1048575)."}}]"#,
            ),
            (
                400,
                r#"{"error":"This model's maximum prompt length is 131072 but the request contains 140000 tokens."}"#,
            ),
            (400, r#"{"error":{"message":"the input length exceeds the context length"}}"#),
        ],
    );
}

#[test]
fn everything_else_is_what_its_status_says() {
    all_are(
        Cause::Other,
        &[
            (400, r#"{"error":{"message":"dimensions must be positive"}}"#),
            (400, r#"{"error":{"message":"tool result not found; the model called another"}}"#),
            (400, r#"{"error":{"message":"The model cannot see images. File not found"}}"#),
            (402, r#"{"error":{"message":"Insufficient credits","code":402}}"#),
            (413, r#"{"error":{"message":"Request too large for model `x` on tokens per minute"}}"#),
            (429, r#"{"error":{"message":"too many tokens per minute"}}"#),
            (500, "boom"),
            (500, "the model took too long to answer"),
            (503, r#"{"error":{"message":"Loading model","type":"unavailable_error","code":503}}"#),
            (529, r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#),
        ],
    );
}
