//! The Rust client, unmodified, through the proxy: chat, stream, tools, structured output, embeddings, errors.
//!
//! usage: PROXY=URL ollama-rs-client          the cases, in front of the scripted backend
//!        PROXY=URL ollama-rs-client MODEL    a chat and a stream of the same, in front of a server that nobody scripted

use ollama_rs::Ollama;
use ollama_rs::error::OllamaError;
use ollama_rs::generation::chat::ChatMessage;
use ollama_rs::generation::chat::request::ChatMessageRequest;
use ollama_rs::generation::completion::request::GenerationRequest;
use ollama_rs::generation::embeddings::request::GenerateEmbeddingsRequest;
use ollama_rs::generation::parameters::FormatType;
use ollama_rs::models::ModelOptions;
use serde_json::json;
use std::process::ExitCode;
use tokio_stream::StreamExt;

const HELLO: &str = "Hello from the scripted backend.";

type Outcome = Result<(), String>;

fn ask(model: &str) -> ChatMessageRequest {
    ChatMessageRequest::new(model.to_string(), vec![ChatMessage::user("hi".to_string())])
}

fn said(error: OllamaError) -> String {
    format!("{error:?}")
}

fn same<T: PartialEq + std::fmt::Debug>(found: T, expected: T) -> Outcome {
    if found == expected { Ok(()) } else { Err(format!("found {found:?}, expected {expected:?}")) }
}

async fn chat_answers_and_counts_its_tokens(ollama: &Ollama) -> Outcome {
    let answer = ollama.send_chat_messages(ask("plain")).await.map_err(said)?;
    let figures = answer.final_data.ok_or("no figures")?;
    same((figures.prompt_eval_count, figures.eval_count), (11, 7))?;
    same(answer.message.content.as_str(), HELLO)
}

async fn a_stream_comes_in_pieces(ollama: &Ollama) -> Outcome {
    // Every character of four bytes is cut by the backend: this client drops what does not end at a line.
    for (model, expected) in [("plain", HELLO), ("emoji", "one 🦙 two 👩\u{200d}🚀 é 中文 🇪🇺\u{1d518} end")] {
        let mut stream = ollama.send_chat_messages_stream(ask(model)).await.map_err(said)?;
        let (mut text, mut is_done) = (String::new(), false);
        while let Some(part) = stream.next().await {
            let part = part.map_err(|()| "the stream broke")?;
            text.push_str(&part.message.content);
            is_done |= part.done;
        }
        same((text.as_str(), is_done), (expected, true))?;
    }
    Ok(())
}

async fn generate_answers(ollama: &Ollama) -> Outcome {
    let answer = ollama.generate(GenerationRequest::new("plain".to_string(), "hi")).await.map_err(said)?;
    same((answer.response.as_str(), answer.done), (HELLO, true))
}

async fn a_round_of_tools(ollama: &Ollama) -> Outcome {
    let tool = json!({"type": "function", "function": {"name": "weather", "description": "the weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}});
    let mut request = ask("tools").tools(vec![serde_json::from_value(tool).map_err(|error| error.to_string())?]);
    let answer = ollama.send_chat_messages(request.clone()).await.map_err(said)?;
    let calls = &answer.message.tool_calls;
    let cities: Vec<_> = calls.iter().filter_map(|call| call.function.arguments["city"].as_str()).collect();
    same(cities.clone(), vec!["Paris", "Łódź"])?;
    // This client's results name neither the call nor the function: the order is all there is.
    let results: Vec<_> = cities.iter().map(|city| ChatMessage::tool(format!("sunny in {city}"))).collect();
    request.messages.push(answer.message.clone());
    request.messages.extend(results);
    let answer = ollama.send_chat_messages(request).await.map_err(said)?;
    same(answer.message.content.as_str(), "Paris: sunny in Paris; Łódź: sunny in Łódź")
}

async fn structured_output_is_json(ollama: &Ollama) -> Outcome {
    let answer = ollama.send_chat_messages(ask("json").format(FormatType::Json)).await.map_err(said)?;
    let person: serde_json::Value =
        serde_json::from_str(&answer.message.content).map_err(|error| error.to_string())?;
    same(person, json!({"name": "Ada", "age": 36}))
}

async fn texts_become_unit_vectors_in_order(ollama: &Ollama) -> Outcome {
    let request = GenerateEmbeddingsRequest::new("embed".to_string(), vec!["a", "b"].into());
    let vectors = ollama.generate_embeddings(request).await.map_err(said)?.embeddings;
    let unit = [1.0_f32 / 3.0, 2.0 / 3.0, -2.0 / 3.0];
    let near = |vector: &Vec<f32>| vector.iter().zip(unit).all(|(a, b)| (a - b).abs() < 1e-7);
    let lengths: Vec<_> = vectors.iter().map(Vec::len).collect();
    same((lengths, vectors.iter().all(near)), (vec![3, 3], true)).map_err(|error| format!("{error}: {vectors:?}"))
}

async fn models_are_listed(ollama: &Ollama) -> Outcome {
    let models = ollama.list_local_models().await.map_err(said)?;
    same(models.iter().any(|model| model.name == "plain:latest"), true)?;
    ollama.show_model_info("plain".to_string()).await.map_err(said).map(|_| ())
}

async fn errors_say_what_is_wrong(ollama: &Ollama) -> Outcome {
    for (model, words) in [("err429", "rate limit"), ("err500", "crashed"), ("missing", "not found")] {
        match ollama.send_chat_messages(ask(model)).await {
            Ok(answer) => return Err(format!("{model}: {:?}", answer.message.content)),
            Err(error) if format!("{error:?}").contains(words) => {}
            Err(error) => return Err(format!("{model}: {error:?}")),
        }
    }
    Ok(())
}

/// Greedy and seeded, one question has one answer: the stream must say what the whole answer said.
async fn genuine(ollama: &Ollama, model: &str) -> Outcome {
    let options = ModelOptions::default().temperature(0.0).seed(7).num_predict(24);
    let question = || ask(model).options(options.clone());
    let whole = ollama.send_chat_messages(question()).await.map_err(said)?.message.content;
    let mut stream = ollama.send_chat_messages_stream(question()).await.map_err(said)?;
    let mut streamed = String::new();
    while let Some(part) = stream.next().await {
        streamed.push_str(&part.map_err(|()| "the stream broke")?.message.content);
    }
    if whole.is_empty() {
        return Err("the answer is empty".to_string());
    }
    same(streamed, whole)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let url = std::env::var("PROXY").expect("PROXY names the proxy");
    let ollama = &Ollama::try_new(url).expect("PROXY is a URL");
    if let Some(model) = std::env::args().nth(1) {
        return match genuine(ollama, &model).await {
            Ok(()) => {
                println!("ok   ollama-rs: whole and streamed");
                ExitCode::SUCCESS
            }
            Err(why) => {
                println!("FAIL ollama-rs: {why}");
                ExitCode::FAILURE
            }
        };
    }
    let outcomes = [
        ("chat_answers_and_counts_its_tokens", chat_answers_and_counts_its_tokens(ollama).await),
        ("a_stream_comes_in_pieces", a_stream_comes_in_pieces(ollama).await),
        ("generate_answers", generate_answers(ollama).await),
        ("a_round_of_tools", a_round_of_tools(ollama).await),
        ("structured_output_is_json", structured_output_is_json(ollama).await),
        ("texts_become_unit_vectors_in_order", texts_become_unit_vectors_in_order(ollama).await),
        ("models_are_listed", models_are_listed(ollama).await),
        ("errors_say_what_is_wrong", errors_say_what_is_wrong(ollama).await),
    ];
    let mut failed = 0;
    for (name, outcome) in &outcomes {
        match outcome {
            Ok(()) => println!("ok   {name}"),
            Err(why) => {
                failed += 1;
                println!("FAIL {name}\n{why}");
            }
        }
    }
    println!("rust client: {} passed, {failed} failed", outcomes.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
