//! The lists of backends as they write them, one for each kind (dialects M4 to M6), and the facts read out of each.

use super::*;
use crate::openai::parse_models;

/// `completion` said yes, `-tools` said no; what is not said is not there.
fn abilities(model: &Model) -> String {
    let mut able = model.abilities;
    let names = ["completion", "tools", "insert", "vision", "thinking", "embedding", "audio", "image"];
    let said = names.iter().zip(Ability::ALL).filter_map(|(name, ability)| match *able.of(ability) {
        Some(true) => Some((*name).to_string()),
        Some(false) => Some(format!("-{name}")),
        None => None,
    });
    said.collect::<Vec<_>>().join(" ")
}

struct Row {
    backend: &'static str,
    list: &'static str,
    id: &'static str,
    owned_by: Option<&'static str>,
    context_length: Option<u64>,
    abilities: &'static str,
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row { backend: "OpenAI", list: r#"{"object":"list","data":[{"id":"gpt-4o","object":"model","created":1715367049,"owned_by":"system"}]}"#,
        id: "gpt-4o", owned_by: Some("system"), context_length: None, abilities: "" },
    Row { backend: "vLLM", list: r#"{"object":"list","data":[{"id":"Qwen/Qwen3-8B","object":"model","created":1758000000,"owned_by":"vllm","root":"Qwen/Qwen3-8B","parent":null,"max_model_len":40960,"permission":[{"id":"modelperm-1","allow_sampling":true}]}]}"#,
        id: "Qwen/Qwen3-8B", owned_by: Some("vllm"), context_length: Some(40_960), abilities: "" },
    Row { backend: "llama.cpp", list: r#"{"models":[{"name":"m.gguf","model":"m.gguf","modified_at":"","size":"","digest":"","type":"model","capabilities":["completion","multimodal"],"details":{"format":"gguf"}}],"object":"list","data":[{"id":"m.gguf","object":"model","created":1758000000,"owned_by":"llamacpp","meta":{"vocab_type":2,"n_vocab":128256,"n_ctx_train":131072,"n_embd":4096,"n_params":8030261248,"size":4912898304}}]}"#,
        id: "m.gguf", owned_by: Some("llamacpp"), context_length: Some(131_072), abilities: "completion vision" },
    Row { backend: "OpenRouter", list: r#"{"data":[{"id":"openai/gpt-4o","canonical_slug":"openai/gpt-4o","name":"OpenAI: GPT-4o","created":1715558400,"context_length":128000,"architecture":{"modality":"text+image->text","input_modalities":["text","image","file"],"output_modalities":["text"],"tokenizer":"GPT"},"top_provider":{"context_length":128000,"max_completion_tokens":16384},"supported_parameters":["max_tokens","tools","tool_choice"]}]}"#,
        id: "openai/gpt-4o", owned_by: None, context_length: Some(128_000), abilities: "completion tools vision -thinking -embedding -audio -image" },
    Row { backend: "OpenRouter, one that only thinks", list: r#"{"data":[{"id":"deepseek/deepseek-r1:free","context_length":null,"architecture":{"input_modalities":["text"],"output_modalities":["text"]},"top_provider":{"context_length":163840},"supported_parameters":["include_reasoning","reasoning"]}]}"#,
        id: "deepseek/deepseek-r1:free", owned_by: None, context_length: Some(163_840), abilities: "completion -tools -vision thinking -embedding -audio -image" },
    Row { backend: "Mistral", list: r#"{"object":"list","data":[{"id":"codestral-latest","object":"model","created":1758000000,"owned_by":"mistralai","capabilities":{"completion_chat":true,"completion_fim":true,"function_calling":true,"fine_tuning":false,"vision":false,"classification":false},"name":"codestral-2508","max_context_length":256000,"aliases":["codestral-2508"],"type":"base"}]}"#,
        id: "codestral-latest", owned_by: Some("mistralai"), context_length: Some(256_000), abilities: "completion tools insert -vision" },
    Row { backend: "Groq", list: r#"{"object":"list","data":[{"id":"llama-3.3-70b-versatile","object":"model","created":1733447754,"owned_by":"Meta","active":true,"context_window":131072,"public_apps":null,"max_completion_tokens":32768}]}"#,
        id: "llama-3.3-70b-versatile", owned_by: Some("Meta"), context_length: Some(131_072), abilities: "" },
    Row { backend: "LM Studio's own", list: r#"{"object":"list","data":[{"id":"qwen2-vl-7b-instruct","object":"model","type":"vlm","publisher":"mlx-community","arch":"qwen2_vl","compatibility_type":"mlx","quantization":"4bit","state":"loaded","max_context_length":32768,"loaded_context_length":4096,"capabilities":["tool_use"]}]}"#,
        id: "qwen2-vl-7b-instruct", owned_by: None, context_length: Some(4096), abilities: "completion tools vision" },
    Row { backend: "Gemini", list: r#"{"object":"list","data":[{"id":"models/gemini-2.5-flash","object":"model","owned_by":"google","display_name":"Gemini 2.5 Flash"}]}"#,
        id: "models/gemini-2.5-flash", owned_by: Some("google"), context_length: None, abilities: "" },
    Row { backend: "Together", list: r#"[{"id":"BAAI/bge-large-en-v1.5","object":"model","created":0,"type":"embedding","running":false,"display_name":"BGE","organization":"BAAI","link":"","context_length":512,"config":{"stop":[]},"pricing":{"hourly":0}}]"#,
        id: "BAAI/bge-large-en-v1.5", owned_by: Some("BAAI"), context_length: Some(512), abilities: "-completion embedding" },
    Row { backend: "Together, a painter", list: r#"[{"id":"black-forest-labs/FLUX.1-dev","type":"image","organization":"Black Forest Labs"}]"#,
        id: "black-forest-labs/FLUX.1-dev", owned_by: Some("Black Forest Labs"), context_length: None, abilities: "-completion image" },
    Row { backend: "Infinity", list: r#"{"data":[{"id":"BAAI/bge-m3","stats":{"queue_fraction":0.0},"object":"model","owned_by":"infinity","created":1758000000,"backend":"torch","capabilities":["embed"]}],"object":"list"}"#,
        id: "BAAI/bge-m3", owned_by: Some("infinity"), context_length: None, abilities: "embedding" },
    Row { backend: "Azure", list: r#"{"data":[{"capabilities":{"fine_tune":false,"inference":true,"completion":false,"chat_completion":true,"embeddings":false},"lifecycle_status":"generally-available","created_at":1,"id":"gpt-4o","object":"model"}],"object":"list"}"#,
        id: "gpt-4o", owned_by: None, context_length: None, abilities: "completion -embedding" },
    Row { backend: "Fireworks", list: r#"{"data":[{"id":"accounts/fireworks/models/x","object":"model","owned_by":"fireworks","created":1,"kind":"HF_BASE_MODEL","supports_chat":true,"supports_image_input":false,"supports_tools":true,"context_length":131072}]}"#,
        id: "accounts/fireworks/models/x", owned_by: Some("fireworks"), context_length: Some(131_072), abilities: "completion tools -vision" },
];

#[test]
fn the_lists_of_backends_as_they_write_them() {
    for row in ROWS {
        let models = parse_models(row.list.as_bytes()).unwrap();
        let [model] = &models[..] else { panic!("{}: {models:?}", row.backend) };
        assert_eq!(model.id, row.id, "{}", row.backend);
        assert_eq!(model.owned_by.as_deref(), row.owned_by, "{}", row.backend);
        assert_eq!(model.context_length, row.context_length, "{}", row.backend);
        assert_eq!(abilities(model), row.abilities, "{}", row.backend);
    }
}

#[test]
fn llama_cpp_says_how_large_its_model_is_and_lm_studio_what_it_is_made_of() {
    let of = |backend: &str| {
        let row = ROWS.iter().find(|row| row.backend == backend).unwrap();
        parse_models(row.list.as_bytes()).unwrap().remove(0)
    };
    let llama = of("llama.cpp");
    assert_eq!((llama.embedding_length, llama.parameter_count), (Some(4096), Some(8_030_261_248)));
    assert_eq!((llama.size, llama.format.as_deref()), (Some(4_912_898_304), Some("gguf")));
    let studio = of("LM Studio's own");
    assert_eq!((studio.architecture.as_deref(), studio.format.as_deref()), (Some("qwen2_vl"), Some("mlx")));
    assert_eq!(studio.quantization.as_deref(), Some("4bit"));
}

#[test]
fn what_a_backend_says_beside_the_api_counts_before_its_list() {
    let row = |backend: &str| ROWS.iter().find(|row| row.backend == backend).unwrap().list;
    let mut models = parse_models(row("llama.cpp").as_bytes()).unwrap();
    let native = NativeFacts::of(&models).unwrap();
    assert_eq!((native, native.path()), (NativeFacts::LlamaCppProps, "/props"));
    let props = r#"{"default_generation_settings":{"id":0,"n_ctx":8192,"params":{}},"total_slots":4,"model_path":"m.gguf","modalities":{"vision":false,"audio":true},"chat_template":"{{ x }}"}"#;
    native.add(props.as_bytes(), &mut models);
    assert_eq!(
        (models[0].context_length, abilities(&models[0])),
        (Some(8192), "completion -vision audio".into())
    );
    let before = models.clone();
    for nonsense in ["", "<html>", "[]", "5", r#"{"default_generation_settings":7,"modalities":[]}"#] {
        native.add(nonsense.as_bytes(), &mut models);
        assert_eq!(models, before, "{nonsense}");
    }

    let plain = r#"{"data":[{"id":"other","owned_by":"organization_owner"},{"id":"qwen2-vl-7b-instruct","owned_by":"organization_owner"}]}"#;
    let mut models = parse_models(plain.as_bytes()).unwrap();
    let native = NativeFacts::of(&models).unwrap();
    assert_eq!((native, native.path()), (NativeFacts::LmStudioModels, "/api/v0/models"));
    native.add(row("LM Studio's own").as_bytes(), &mut models);
    assert_eq!((models[0].context_length, models[1].context_length), (None, Some(4096)));
    assert_eq!((models.len(), models[1].owned_by.as_deref()), (2, Some("organization_owner")));

    for (backend, list) in
        ROWS.iter().map(|row| (row.backend, row.list)).filter(|(name, _)| *name != "llama.cpp")
    {
        assert_eq!(NativeFacts::of(&parse_models(list.as_bytes()).unwrap()), None, "{backend}");
    }
    assert_eq!(NativeFacts::of(&[]), None);
}

#[test]
fn what_litellm_says_of_its_models_is_read() {
    let list = |created: u64, owner: &str| {
        let ids = ["chat", "embed", "paint", "hear", "other", "unsaid"];
        let entries = ids.map(|id| {
            format!(r#"{{"id":"{id}","object":"model","created":{created},"owned_by":"{owner}"}}"#)
        });
        parse_models(format!(r#"{{"data":[{}],"object":"list"}}"#, entries.join(",")).as_bytes()).unwrap()
    };
    let mut models = list(1_677_610_602, "openai");
    let native = NativeFacts::of(&models).unwrap();
    assert_eq!((native, native.path()), (NativeFacts::LiteLlmModelInfo, "/model/info"));
    for (created, owner) in [(1_677_610_603, "openai"), (1_677_610_602, "me")] {
        assert_eq!(NativeFacts::of(&list(created, owner)), None, "{created} {owner}");
    }
    let info = r#"{"data":[
        {"model_name":"chat","litellm_params":{"model":"openai/gpt-4o"},"model_info":{"id":"1","db_model":false,"key":"gpt-4o","max_tokens":16384,"max_input_tokens":128000,"max_output_tokens":16384,"mode":"chat","supports_function_calling":true,"supports_vision":true,"supports_reasoning":false,"supports_audio_input":null}},
        {"model_name":"chat","model_info":{"max_input_tokens":8192,"mode":"chat","supports_function_calling":false}},
        {"model_name":"embed","model_info":{"max_input_tokens":8191,"output_vector_size":1536,"mode":"embedding"}},
        {"model_name":"paint","model_info":{"mode":"image_generation"}},
        {"model_name":"hear","model_info":{"mode":"audio_transcription"}},
        {"model_name":"other","model_info":{"max_tokens":4096,"max_input_tokens":null,"mode":null,"supports_reasoning":true}},
        {"model_name":"unsaid"},{"model_name":7,"model_info":{}},{"model_name":"stranger","model_info":{"mode":"chat"}},5
    ]}"#;
    native.add(info.as_bytes(), &mut models);
    let table = [
        ("chat", Some(128_000), None, "completion tools vision -thinking"),
        ("embed", Some(8191), Some(1536), "-completion embedding"),
        ("paint", None, None, "-completion image"),
        ("hear", None, None, "-completion"),
        ("other", None, None, "thinking"),
        ("unsaid", None, None, ""),
    ];
    assert_eq!(models.len(), table.len());
    for (model, (id, context_length, embedding_length, able)) in models.iter().zip(table) {
        let found = (model.id.as_str(), model.context_length, model.embedding_length, abilities(model));
        assert_eq!(found, (id, context_length, embedding_length, able.to_string()));
    }
    let before = models.clone();
    for nonsense in ["", "<html>", "[]", r#"{"data":{}}"#, r#"{"detail":"Not Found"}"#] {
        native.add(nonsense.as_bytes(), &mut models);
        assert_eq!(models, before, "{nonsense}");
    }
}

#[test]
fn words_of_another_type_or_too_long_say_nothing() {
    let long = "x".repeat(65);
    let list = format!(
        r#"[{{"id":"a","owned_by":7,"context_length":"many","max_model_len":0,"context_window":-5,"meta":[],"architecture":"x86","supported_parameters":null,"capabilities":"all","type":3,"arch":"{long}"}},{{"id":"a\nb"}}]"#
    );
    let models = parse_models(list.as_bytes()).unwrap();
    assert_eq!(models, [Model { id: "a".into(), ..Model::default() }]);
}
