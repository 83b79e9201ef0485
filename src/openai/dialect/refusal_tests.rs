//! Refusals as backends word them, and errors that are none: what [`Dialect::candidates`] makes of each.

use super::*;

/// The candidates for a backend that takes everything.
fn candidates(status: u16, body: &str) -> Vec<Parameter> {
    Dialect::default().candidates(status, &ApiError::read(body.as_bytes()))
}

/// Refusals as backends word them, and what comes of each first.
#[test]
fn recorded_refusals_name_what_to_change() {
    let table: &[(&str, Parameter)] = &[
        (
            r#"{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.","type":"invalid_request_error","param":"max_tokens","code":"unsupported_parameter"}}"#,
            MaxTokens,
        ),
        (
            r#"{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."}}"#,
            MaxTokens,
        ),
        (
            r#"{"error":{"message":"Unrecognized request argument supplied: max_completion_tokens","type":"invalid_request_error","param":null,"code":null}}"#,
            MaxCompletionTokens,
        ),
        (
            r#"{"object":"error","message":{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"],"msg":"Extra inputs are not permitted","input":{"include_usage":true}}]},"type":"invalid_request_error","param":null,"code":null}"#,
            StreamOptions,
        ),
        (
            r#"{"detail":[{"type":"extra_forbidden","loc":["body","top_k"],"msg":"Extra inputs are not permitted","input":40}]}"#,
            TopK,
        ),
        (r#"{"error":{"message":"Unrecognized request argument supplied: top_k"}}"#, TopK),
        (
            r#"{"error":{"message":"Unknown parameter: 'stream_options.include_obfuscation'.","param":"stream_options.include_obfuscation","code":"unknown_parameter"}}"#,
            IncludeObfuscation,
        ),
        (
            r#"{"error":{"message":"Unsupported value: 'temperature' does not support 0.5 with this model. Only the default (1) value is supported.","param":"temperature","code":"unsupported_value"}}"#,
            Temperature,
        ),
        (
            r#"{"code":"Client specified an invalid argument","error":"Model grok-4 does not support parameter presencePenalty."}"#,
            PresencePenalty,
        ),
        (
            r#"{"error":{"code":"bad_response_status_code","message":"Model grok-4 does not support parameter frequencyPenalty.","param":"400"}}"#,
            FrequencyPenalty,
        ),
        (
            r#"{"code":"Client specified an invalid argument","error":"Argument not supported on this model: stop"}"#,
            Stop,
        ),
        (
            r#"{"code":"Client specified an invalid argument","error":"Model grok-4 does not support parameter reasoningEffort."}"#,
            ReasoningEffort,
        ),
        (
            r#"[{"error":{"code":400,"message":"Invalid JSON payload received. Unknown name \"seed\": Cannot find field.","status":"INVALID_ARGUMENT"}}]"#,
            Seed,
        ),
        (
            r#"[{"error":{"code":400,"message":"Penalty is not enabled for this model","status":"INVALID_ARGUMENT"}}]"#,
            FrequencyPenalty,
        ),
        (
            r#"[{"error":{"code":400,"message":"Logprobs is not enabled for this model","status":"INVALID_ARGUMENT"}}]"#,
            Logprobs,
        ),
        (
            r#"{"error":{"message":"`logprobs` is not supported with this model","type":"invalid_request_error"}}"#,
            Logprobs,
        ),
        (
            r#"{"error":{"message":"This model does not support top_logprobs","type":"invalid_request_error"}}"#,
            TopLogprobs,
        ),
        (
            r#"{"error":{"message":"This response_format type is unavailable now","type":"invalid_request_error","param":null,"code":"invalid_request_error"}}"#,
            JsonSchema,
        ),
        (
            r#"{"error":{"message":"This model does not support response format `json_schema`. See supported models at https://console.groq.com/docs/structured-outputs#supported-models","type":"invalid_request_error","param":"response_format"}}"#,
            JsonSchema,
        ),
        (r#"{"error":"'response_format.type' must be 'json_schema' or 'text'"}"#, JsonSchema),
        (
            r#"{"error":{"message":"'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.","type":"invalid_request_error","param":"messages","code":null}}"#,
            WordlessJson,
        ),
        (
            r#"{"error":{"message":"Prompt must contain the word 'json' in some form to use 'response_format' of type 'json_object'.","type":"invalid_request_error"}}"#,
            WordlessJson,
        ),
        (
            r#"{"error":{"message":"Unsupported value: 'messages[0].role' does not support 'system' with this model.","type":"invalid_request_error","param":"messages[0].role","code":"unsupported_value"}}"#,
            SystemRole,
        ),
        (
            r#"[{"error":{"code":400,"message":"Developer instruction is not enabled for models/gemma-3-27b-it","status":"INVALID_ARGUMENT"}}]"#,
            SystemRole,
        ),
        (
            r#"{"object":"error","message":"System role not supported","type":"BadRequestError","code":400}"#,
            SystemRole,
        ),
        (
            r#"{"error":{"message":"Unsupported value: 'reasoning_effort' does not support 'none' with this model. Supported values are: 'low', 'medium', and 'high'.","param":"reasoning_effort","code":"unsupported_value"}}"#,
            EffortNone,
        ),
        (
            r#"{"error":{"message":"`reasoning_effort` must be one of `low`, `medium`, or `high`","type":"invalid_request_error"}}"#,
            EffortNone,
        ),
        (
            r#"{"error":{"message":"reasoning_effort=low is not supported by Mistral models. Supported values are: ['none', 'high']"}}"#,
            EffortNone,
        ),
        (
            r#"{"error":{"message":"Budget 0 is invalid. This model only works in thinking mode.","code":400}}"#,
            EffortNone,
        ),
        (
            r#"{"error":{"message":"Unrecognized request argument supplied: reasoning_effort","type":"invalid_request_error"}}"#,
            ReasoningEffort,
        ),
        (
            r#"{"error":{"message":"`reasoning_format` is not supported with this model","param":"reasoning_format"}}"#,
            ReasoningFormat,
        ),
        (
            r#"{"object":"error","message":"chat_template is not supported for Mistral tokenizers.","type":"BadRequestError","code":400}"#,
            ChatTemplateKwargs,
        ),
        (
            r#"{"error":{"message":"Invalid 'stop': array too long. Expected an array with maximum length 4, but got an array with length 6 instead.","param":"stop","code":"array_above_max_length"}}"#,
            LongStop,
        ),
        (
            r#"{"error":{"message":"Provider returned error","code":400,"metadata":{"raw":"{\"error\":{\"message\":\"Unsupported parameter: 'temperature' is not supported with this model.\",\"param\":\"temperature\"}}","provider_name":"OpenAI"}}}"#,
            Temperature,
        ),
        (r#"{"error":{"message":"This model does not support specifying dimensions."}}"#, Dimensions),
        (
            r#"{"error":{"message":"Invalid value for 'dimensions' = 5000. Must be less than or equal to 1536."}}"#,
            Dimensions,
        ),
        (
            r#"{"detail":[{"type":"extra_forbidden","loc":["body","encoding_format"],"msg":"Extra inputs are not permitted"}]}"#,
            EncodingFormat,
        ),
    ];
    for (body, expected) in table {
        assert_eq!(candidates(400, body).first(), Some(expected), "{body}");
    }
}

/// Errors that only mention a parameter, or are about its size.
#[test]
fn errors_about_something_else_name_nothing() {
    for body in [
        r#"{"error":{"message":"This model's maximum context length is 4096 tokens. However, you requested 4250 tokens (250 in the messages, 4000 in the completion). Please reduce the length of the messages or completion.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
        r#"{"object":"error","message":"'max_tokens' or 'max_completion_tokens' is too large: 9000. This model's maximum context length is 8192 tokens and your request has 12 input tokens (9000 > 8192 - 12).","code":400}"#,
        r#"{"error":{"message":"max_tokens is too large: 99999999. This model supports at most 16384 completion tokens, whereas you provided 99999999.","param":"max_tokens","code":"invalid_value"}}"#,
        r#"{"error":{"message":"Invalid value for 'temperature': expected a value between 0 and 2","param":"temperature"}}"#,
        r#"{"error":{"message":"Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 9 instead.","param":"temperature","code":"decimal_above_max_value"}}"#,
        r#"{"error":{"message":"top_p must be in (0, 1], got 2.0."}}"#,
        r#"{"error":{"message":"Invalid schema for response_format 'schema': In context=(), 'additionalProperties' is required to be supplied and to be false.","param":"response_format","code":"invalid_json_schema"}}"#,
        r#"{"error":{"message":"Unsupported parameter: 'foo' is not supported. Did you mean 'seed'?","param":"foo"}}"#,
        r#"{"error":{"message":"You uploaded an unsupported image. Please lower the temperature of your expectations."}}"#,
        r#"{"error":{"message":"unknown role: narrator"}}"#,
        r#"{"detail":[{"type":"missing","loc":["body","messages"],"msg":"Field required"}]}"#,
        r#"{"error":{"message":"Content blocked by the policy"}}"#,
        "",
    ] {
        assert_eq!(candidates(400, body), [], "{body}");
    }
}

#[test]
fn only_requests_that_are_wrong_are_put_otherwise() {
    let body = r#"{"error":{"message":"unknown parameter: top_k"}}"#;
    for status in [400, 422] {
        assert_eq!(candidates(status, body), [TopK], "{status}");
    }
    for status in [401, 403, 404, 413, 429, 500, 501, 502, 503] {
        assert_eq!(candidates(status, body), [], "{status}");
    }
    // The chat template's own words come with a 500 from llama.cpp.
    assert_eq!(candidates(500, r#"{"error":{"message":"System role not supported"}}"#), [SystemRole]);
}

#[test]
fn what_was_refused_is_no_candidate_again() {
    let error = ApiError::read(br#"{"error":"unknown field stream_options"}"#);
    let dialect = Dialect::default();
    assert_eq!(dialect.candidates(400, &error), [StreamOptions]);
    assert_eq!(dialect.without(StreamOptions).candidates(400, &error), []);
}

#[test]
fn a_name_in_the_advice_is_not_blamed() {
    let body = r#"{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."}}"#;
    assert_eq!(candidates(400, body), [MaxTokens]);
}

#[test]
fn a_value_of_a_sampling_parameter_is_the_requests_own() {
    let for_good = |message: &str, parameter| {
        let body = format!(r#"{{"error":{{"message":"{message}","code":"unsupported_value"}}}}"#);
        ApiError::read(body.as_bytes()).refuses_for_good(parameter)
    };
    assert!(!for_good("'temperature' does not support 0.5 with this model.", Temperature));
    assert!(for_good(
        "'temperature' does not support 0.5. Only the default (1) value is supported.",
        Temperature
    ));
    assert!(for_good("'messages[0].role' does not support 'system'", SystemRole));
    assert!(ApiError::read(br#"{"error":"unknown temperature"}"#).refuses_for_good(Temperature));
}

#[test]
fn models_without_tools_are_known_by_the_words() {
    for message in [
        "registry.ollama.ai/library/gemma:2b does not support tools",
        r#"\"auto\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set"#,
        "No endpoints found that support tool use. To learn more about provider routing, visit: https://openrouter.ai/docs/provider-routing",
        "tools param requires --jinja flag",
        "Function calling is not enabled for models/gemma-3-27b-it",
        "deepseek-reasoner does not support Function Calling",
        "`tool calling` is not supported with this model",
        "Unsupported parameter: 'tools' is not supported with this model.",
    ] {
        let body = format!(r#"{{"error":{{"message":"{message}"}}}}"#);
        assert!(ApiError::read(body.as_bytes()).refuses_tools(), "{message}");
    }
    for message in
        ["Invalid schema for function 'f'", "tools[0].function.name is too long", "context length exceeded"]
    {
        let body = format!(r#"{{"error":{{"message":"{message}"}}}}"#);
        assert!(!ApiError::read(body.as_bytes()).refuses_tools(), "{message}");
    }
}

#[test]
fn models_that_fill_in_no_middle_are_known_by_the_words() {
    for body in [
        // vLLM
        r#"{"error":{"message":"suffix is not currently supported","type":"BadRequestError","param":null,"code":400}}"#,
        r#"{"error":{"message":"Unrecognized request argument supplied: suffix","type":"invalid_request_error"}}"#,
        r#"{"error":{"message":"This model does not support it.","code":"unsupported_parameter","param":"suffix"}}"#,
        r#"{"detail":[{"type":"extra_forbidden","loc":["body","suffix"],"msg":"Extra inputs are not permitted"}]}"#,
        r#"{"error":"Suffix is not supported. Leave it out"}"#,
    ] {
        assert!(ApiError::read(body.as_bytes()).refuses_suffix(), "{body}");
    }
    for body in [
        r#"{"error":{"message":"prompt and suffix are too long"}}"#,
        r#"{"error":{"message":"suffix: too long. Unknown model"}}"#,
        r#"{"error":{"message":"suffixes are not supported"}}"#,
        r#"{"error":{"message":"must be a string","param":"suffix","code":"invalid_type"}}"#,
    ] {
        assert!(!ApiError::read(body.as_bytes()).refuses_suffix(), "{body}");
    }
}

#[test]
fn every_name_is_found_where_it_stands() {
    for parameter in Parameter::ALL {
        for name in names(*parameter) {
            let body =
                format!(r#"{{"error":{{"message":"Unknown parameter: '{name}'. Unsupported value"}}}}"#);
            assert!(candidates(400, &body).contains(parameter), "{parameter:?} as {name}");
        }
    }
}
