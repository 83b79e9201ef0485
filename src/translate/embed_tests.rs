//! Whole answers, from the backend's bytes to the client's.

use super::*;
use crate::ollama::EmbedEndpoint::{Embed, Embeddings};
use crate::openai::{Parameter, Parameters, Profile};
use proptest::prelude::*;
use serde_json::Value;

fn request(endpoint: EmbedEndpoint, rest: &str) -> Vec<u8> {
    let texts = if endpoint == Embed { r#""input":["a","b"]"# } else { r#""prompt":"a""# };
    format!(r#"{{"model":"M:latest",{texts}{rest}}}"#).into_bytes()
}

fn answered(endpoint: EmbedEndpoint, rest: &str, data: &str) -> Result<String, String> {
    let body = request(endpoint, rest);
    let request = EmbedRequest::parse(endpoint, &body).unwrap();
    let mut translator = EmbedTranslator::new(&request);
    translator.push(format!(r#"{{"data":[{data}],"usage":{{"prompt_tokens":4}}}}"#).as_bytes()).unwrap();
    assert!(translator.is_complete());
    let reply = translator.finish(Duration::from_nanos(9), Duration::from_nanos(5));
    let mut reply = reply.map_err(|fault| fault.to_string())?;
    let mut out = BytesMut::new();
    while !reply.is_over() {
        let whole = reply.write_next(&mut out);
        out.extend_from_slice(&whole.unwrap_or_default());
    }
    let len = out.len();
    assert_eq!((reply.write_next(&mut out), out.len()), (None, len), "behind the end comes nothing");
    Ok(String::from_utf8(out.to_vec()).unwrap())
}

fn vectors(answer: &str) -> Vec<Vec<f64>> {
    let answer: Value = serde_json::from_str(answer).unwrap();
    serde_json::from_value(answer["embeddings"].clone()).unwrap()
}

fn sent(endpoint: EmbedEndpoint, rest: &str, dialect: Dialect) -> String {
    let body = request(endpoint, rest);
    let mut out = BytesMut::new();
    write_embed(&EmbedRequest::parse(endpoint, &body).unwrap(), "m", dialect, &mut out);
    String::from_utf8(out.to_vec()).unwrap()
}

#[test]
fn requests_have_what_the_backend_takes() {
    let of = |profile| Dialect { profile: Profile::named(profile).unwrap(), ..Dialect::default() };
    assert_eq!(
        sent(Embed, r#","dimensions":2,"options":{"num_ctx":1}"#, of("standard")),
        r#"{"model":"m","input":["a","b"],"encoding_format":"float","dimensions":2}"#
    );
    assert_eq!(
        sent(Embeddings, r#","dimensions":2"#, of("openai")),
        r#"{"model":"m","input":"a","encoding_format":"base64"}"#
    );
    assert_eq!(
        sent(Embed, "", of("vllm")),
        r#"{"model":"m","input":["a","b"],"encoding_format":"float","truncate_prompt_tokens":-1}"#
    );
    for rest in [r#","truncate":false"#, r#","prompt":"x","truncate":false"#] {
        assert!(!sent(Embed, rest, of("vllm")).contains("truncate"), "{rest}");
    }
    assert!(!sent(Embeddings, "", of("vllm")).contains("truncate"), "Ollama does not cut there either");
    let all = [Parameter::EncodingFormat, Parameter::Dimensions, Parameter::TruncatePromptTokens];
    let refused = Parameters::default().with(&all);
    let dialect = Dialect { profile: Profile::named("vllm").unwrap(), refused, ..Dialect::default() };
    assert_eq!(sent(Embed, r#","dimensions":2"#, dialect), r#"{"model":"m","input":["a","b"]}"#);
}

#[test]
fn unit_vectors_keep_their_digits_and_others_are_scaled() {
    let data = r#"{"index":1,"embedding":[3,-4,0.0]},{"index":0,"embedding":[0.60, 0.8 ,0e0]}"#;
    assert_eq!(
        answered(Embed, "", data).unwrap(),
        r#"{"model":"M:latest","embeddings":[[0.60,0.8,0e0],[0.6,-0.8,0]],"total_duration":9,"load_duration":5,"prompt_eval_count":4}"#
    );
    let zeros = r#"{"embedding":[0,-0.0]},{"embedding":"AAAAAAAAAAA="}"#;
    assert!(answered(Embed, "", zeros).unwrap().contains("[[0,-0.0],[0,0]]"));
}

#[test]
fn the_older_endpoint_scales_nothing_and_says_nothing_else() {
    assert_eq!(answered(Embeddings, "", r#"{"embedding":[3,-4.50]}"#).unwrap(), r#"{"embedding":[3,-4.50]}"#);
    // 1, -2 as packed floats.
    assert_eq!(
        answered(Embeddings, "", r#"{"embedding":"AACAPwAAAMA="}"#).unwrap(),
        r#"{"embedding":[1,-2]}"#
    );
}

#[test]
fn longer_vectors_than_asked_for_are_cut_and_scaled_anew() {
    let data = r#"{"embedding":[0.6,0,0.8]},{"embedding":[0.6,0.8]}"#;
    assert_eq!(vectors(&answered(Embed, r#","dimensions":2"#, data).unwrap()), [[1.0, 0.0], [0.6, 0.8]]);
    for more in ["3", "4096", "0", "-1"] {
        let answer = answered(Embed, &format!(r#","dimensions":{more}"#), data).unwrap();
        assert!(answer.contains("[[0.6,0,0.8],[0.6,0.8]]"), "{more}: {answer}");
    }
    let zeros_first = r#"{"embedding":[0,0,1]},{"embedding":[1,0,0]}"#;
    let answer = answered(Embed, r#","dimensions":2"#, zeros_first).unwrap();
    assert!(answer.contains("[[0,0],[1,0]]"), "{answer}");
}

#[test]
fn long_vectors_that_stay_as_they_are_are_given_out() {
    let unit = vec!["-0.025515518153991"; 1536].join(",");
    let half = vec!["0.5"; 1536].join(",");
    let given = |data: &str| {
        let body = request(Embed, "");
        let mut translator = EmbedTranslator::new(&EmbedRequest::parse(Embed, &body).unwrap());
        translator.push(format!(r#"{{"data":[{data}]}}"#).as_bytes()).unwrap();
        let mut reply = translator.finish(Duration::ZERO, Duration::ZERO).unwrap();
        let (mut out, mut whole) = (BytesMut::new(), Vec::new());
        while !reply.is_over() {
            whole.extend(reply.write_next(&mut out));
        }
        (out.len(), whole)
    };
    let (rest, whole) =
        given(&format!(r#"{{"index":1,"embedding":[{unit}]}},{{"embedding":[{unit}],"index":0}}"#));
    assert_eq!(whole, [format!("[{unit}]"), format!(",[{unit}]")]);
    assert!(rest < 200, "{rest}");
    let (_, whole) = given(&format!(r#"{{"embedding":[{unit}]}},{{"embedding":[{half}]}}"#));
    assert_eq!(whole.len(), 1, "what is scaled is written");
    let (_, whole) = given(&format!(r#"{{"embedding":[{unit}]}},{{"embedding":[1]}}"#));
    assert_eq!(whole.len(), 0, "what is small in all is one body");
    // However it goes out, it is the same answer.
    for (first, second) in [(&unit, &unit), (&half, &unit), (&unit, &half)] {
        let data = format!(r#"{{"embedding":[{first}]}},{{"embedding":[{second}]}}"#);
        let found = vectors(&answered(Embed, "", &data).unwrap());
        let is_unit = |row: &Vec<f64>| (row.iter().map(|x| x * x).sum::<f64>() - 1.0).abs() < 1e-6;
        assert!(found.len() == 2 && found.iter().all(is_unit), "{found:?}");
    }
}

#[test]
fn what_is_wrong_with_the_answer_is_said() {
    let said = "the backend sent something that is not an answer: ";
    assert_eq!(
        answered(Embed, "", r#"{"embedding":[1]}"#).unwrap_err(),
        format!("{said}expected an embedding for each of 2 texts, found 1")
    );
    let mut translator = EmbedTranslator::new(&EmbedRequest::parse(Embed, &request(Embed, "")).unwrap());
    let fault = translator.push(br#"{"data":[{"embedding":[NaN]}"#).unwrap_err();
    assert_eq!(fault.to_string(), format!("{said}data[0]: embedding contains NaN or Inf values"));
}

proptest! {
    /// Obvious code over serde_json's values must give the same vectors.
    #[test]
    fn any_list_gives_what_the_obvious_code_gives(
        rows in proptest::collection::vec(proptest::collection::vec(-1e3_f32..1e3, 1..8), 2..3),
        is_unit in any::<bool>(),
        is_turned in any::<bool>(),
        dimensions in 0_usize..9,
    ) {
        let norm = |row: &[f64]| row.iter().map(|x| x * x).sum::<f64>().sqrt();
        let rows: Vec<Vec<f64>> = rows.iter().map(|row| {
            let row: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
            let norm = norm(&row);
            row.iter().map(|x| if is_unit && norm > 0.0 { x / norm } else { *x }).collect()
        }).collect();
        let element = |at: usize| serde_json::json!({"index": at, "embedding": rows[at]}).to_string();
        let data = if is_turned { [element(1), element(0)] } else { [element(0), element(1)] }.join(",");
        let found = vectors(&answered(Embed, &format!(",\"dimensions\":{dimensions}"), &data).unwrap());
        for (row, found) in rows.iter().zip(&found) {
            let len = if dimensions == 0 { row.len() } else { dimensions.min(row.len()) };
            let row = &row[..len];
            // What is of unit length as far as 32-bit floats can tell keeps its digits.
            let norm = norm(row);
            let norm = if norm == 0.0 || (norm - 1.0).abs() < 1e-6 { 1.0 } else { norm };
            prop_assert_eq!(found.len(), len);
            for (found, x) in found.iter().zip(row) {
                prop_assert!((found - x / norm).abs() < 1e-12, "{} of {:?}", found, row);
            }
        }
        prop_assert_eq!(found.len(), 2);
    }
}
