//! The answer as a whole, and under every cut.

use super::*;
use proptest::prelude::*;

type Read = Result<(Vec<Vec<f64>>, Option<u64>), EmbeddingFault>;

fn pushed<'a>(wanted: usize, parts: impl IntoIterator<Item = &'a [u8]>) -> Read {
    let mut list = EmbeddingList::new(wanted);
    parts.into_iter().try_for_each(|part| list.push(part))?;
    let (embeddings, usage) = list.finish()?;
    let numbers = |embedding: &Embedding| embedding.values.iter().map(|number| number.value()).collect();
    Ok((embeddings.iter().map(numbers).collect(), usage.prompt_tokens))
}

fn read(wanted: usize, text: &str) -> Read {
    pushed(wanted, [text.as_bytes()])
}

/// What an error says.
fn refused(wanted: usize, text: &str) -> String {
    match read(wanted, text).unwrap_err() {
        EmbeddingFault::Backend(error) => format!("backend: {}", error.message),
        EmbeddingFault::Truncated => "truncated".to_string(),
        EmbeddingFault::Malformed(what) => what,
        EmbeddingFault::TooMuch(max, what) => format!("{max} {what}"),
    }
}

fn vectors(count: usize) -> Vec<Vec<f64>> {
    (0..count).map(|at| vec![at as f64, -0.5]).collect()
}

#[test]
fn vectors_stand_in_the_order_of_the_texts() {
    for text in [
        r#"{"object":"list","data":[{"index":0,"embedding":[0,-0.5]},{"index":1,"embedding":[1,-0.5]}],"model":"m","usage":{"prompt_tokens":5,"total_tokens":5}}"#,
        r#"{"usage":{"prompt_tokens":5.0},"data":[{"embedding":[1,-0.5],"index":1},{"index":0,"embedding":[0,-0.5]}]}"#,
        "\u{feff} {\n \"usage\" : {\"prompt_tokens\": 5} ,\n \"data\" : [ {\"embedding\": [0, -0.5]} , { \"embedding\" : \"AACAPwAAAL8=\" } ] \n}\n",
        r#"{"data":[{"embedding":[0,-0.5],"index":null},{"embedding":[1,-0.5]}],"error":null,"usage":{"prompt_tokens":5}}"#,
        r#"{"d\u0061ta":[{"embedding":[1,-0.5],"index":1},{"embedding":[0,-0.5],"index":0}],"us\u0061ge":{"prompt_tokens":5},"error":""}"#,
    ] {
        assert_eq!(read(2, text), Ok((vectors(2), Some(5))), "{text}");
    }
    assert_eq!(read(1, r#"{"data":[{"embedding":[0,-0.5]}],"usage":null}"#), Ok((vectors(1), None)));
}

#[test]
fn what_is_no_list_is_told() {
    let table = [
        ("", "truncated"),
        (r#"{"data":[{"embedding":[1"#, "truncated"),
        (r#"{"data":[{"embedding":[1]}]"#, "truncated"),
        (r#"{"data":[{"embedding":[1]}]}x"#, "unexpected 'x' in JSON"),
        (r#"{"data":[{"embedding":[1]},]}"#, "unexpected ']' in JSON"),
        (r#"{"data":[,{"embedding":[1]}]}"#, "unexpected ',' in JSON"),
        (r#"{"data":[{"embedding":[1]} {"embedding":[1]}]}"#, "unexpected '{' in JSON"),
        (r#"{"data":[{"embedding":[1]}],}"#, "unexpected '}' in JSON"),
        (r#"{"data" [{"embedding":[1]}]}"#, "unexpected '[' in JSON"),
        (r#"{data:[]}"#, "unexpected 'd' in JSON"),
        (r#"{"a":tru,"data":[{"embedding":[1]}]}"#, "unexpected end of JSON input at offset 3"),
        (
            r#"{"data":[{"embedding":[1]},{"embedding":[1]}]}"#,
            "expected an embedding for each of 1 texts, found more",
        ),
        (r#"{"data":[]}"#, "expected an embedding for each of 1 texts, found 0"),
        (r#"{"data":[{"embedding":[1],"index":1}]}"#, "data[0].index is 1 of 1 texts"),
        (r#"{"data":[{"embedding":[1,NaN]}]}"#, "data[0]: embedding contains NaN or Inf values"),
        (r#"{"data":[5]}"#, "data[0]: expected an object, found number"),
        (r#"{"data":[{"index":0}]}"#, "data[0] has no `embedding`"),
        ("{}", "it has no `data`"),
        (r#"{"object":"list","data":null}"#, "it has no `data`"),
        (r#"{"error":{"message":"m","code":429}}"#, "backend: m"),
        (r#"{"data":[{"embedding":[1]}],"error":"late"}"#, "backend: late"),
        (r#"{"object":"error","message":"m","code":400}"#, "backend: m"),
        (r#"{"detail":"d"}"#, "backend: d"),
        (r#"[{"error":{"message":"m"}}]"#, "backend: m"),
        ("<html><head><title>Bad Gateway</title></head></html>", "backend: Bad Gateway"),
        ("Internal Server Error", "backend: Internal Server Error"),
    ];
    for (text, expected) in table {
        assert_eq!(refused(1, text), expected, "{text}");
    }
    let twice = r#"{"data":[{"embedding":[1],"index":1},{"embedding":[1]}]}"#;
    assert_eq!(refused(2, twice), "there are two embeddings with index 1");
}

#[test]
fn an_error_has_its_status() {
    let Err(EmbeddingFault::Backend(error)) = read(1, r#"{"error":{"message":"m","code":429}}"#) else {
        panic!()
    };
    assert_eq!(error.status, Some(429));
}

#[test]
fn what_is_too_much_is_not_kept() {
    let mut list = EmbeddingList::new(1);
    list.push(br#"{"data":[{"embedding":["#).unwrap();
    let flood = (0..).map(|_| list.push(&[b'1'; 1000])).take(2000).find_map(Result::err);
    assert_eq!(flood, Some(EmbeddingFault::TooMuch(1 << 20, "bytes in one embedding")));
    assert!(list.text.capacity() <= 4 << 20, "{}", list.text.capacity());

    let mut list = EmbeddingList::new(1);
    list.len = MAX_LIST_BYTES - (10 << 10);
    let blank = [b' '; 1 << 10];
    let flood = (0..20).map(|_| list.push(&blank)).position(|pushed| pushed.is_err());
    assert_eq!(flood, Some(10));
    assert!(list.lead.len() <= MAX_LEAD_BYTES);

    // Vectors of one number, of which each takes far more than its text.
    let mut list = EmbeddingList::new(usize::MAX);
    list.push(br#"{"data":["#).unwrap();
    list.len = MAX_LIST_BYTES - 10 * VECTOR_BYTES;
    let flood = (0..20).map(|_| list.push(br#"{"embedding":[1]},"#)).position(|pushed| pushed.is_err());
    assert_eq!(flood, Some(10));
}

/// Answers of every kind, whole and broken.
const CUT: &[(usize, &str)] = &[
    (
        2,
        "\u{feff}{ \"object\":\"li\\\"st\" ,\"data\":[{\"index\":1,\"embedding\":[1e0, -0.5]}\n,{\"embedding\":\"AAAAAAAAAL8=\",\"index\":0}],\"usage\":{\"prompt_tokens\":12},\"m\":-1.5e3}\r\n",
    ),
    (1, r#"{"data":[{"embedding":[0.25,NaN]}],"usage":{}}"#),
    (1, r#"{"a":{"b":[1,{"c":"}]"}]},"error":{"message":"m","code":503},"data":[]}"#),
    (1, r#"{"data":[{"embedding":[1]}],,"a":1}"#),
    (1, "<html><title>Oh no</title></html>"),
    (1, r#"{"message":"no","data":null}"#),
];

#[test]
fn any_one_cut_changes_nothing() {
    for (wanted, text) in CUT {
        let whole = read(*wanted, text);
        for cut in 0..=text.len() {
            let (head, tail) = text.as_bytes().split_at(cut);
            assert_eq!(pushed(*wanted, [head, tail]), whole, "{text} cut at {cut}");
        }
        assert_eq!(pushed(*wanted, text.as_bytes().chunks(1)), whole, "{text} byte by byte");
    }
}

#[test]
fn an_answer_cut_short_is_truncated_and_nothing_else() {
    let (wanted, text) = CUT[0];
    let text = text.trim_end();
    for len in 0..text.len() {
        assert_eq!(pushed(wanted, [&text.as_bytes()[..len]]), Err(EmbeddingFault::Truncated), "at {len}");
    }
}

proptest! {
    #[test]
    fn any_cuts_give_the_same_vectors(
        rows in proptest::collection::vec(proptest::collection::vec(-2.0_f32..2.0, 1..6), 1..6),
        seed in any::<u64>(),
        sizes in proptest::collection::vec(1_usize..9, 1..9),
    ) {
        let count = rows.len();
        // Each row at a place of its own, half of them backwards.
        let shift = seed as usize % count;
        let data: Vec<String> = (0..count).map(|at| {
            let index = if seed & 1 == 0 { (at + shift) % count } else { (count - 1 - at + shift) % count };
            let numbers: Vec<String> = rows[index].iter().map(f32::to_string).collect();
            format!("{{\"index\":{index},\"embedding\":[{}]}}", numbers.join(if seed & 2 == 0 { "," } else { " ,\n" }))
        }).collect();
        let text = format!("{{\"data\":[{}],\"usage\":{{\"prompt_tokens\":{count}}}}}", data.join(","));
        let mut rest = text.as_bytes();
        let parts = sizes.iter().cycle().map_while(|size| {
            let (part, behind) = rest.split_at((*size).min(rest.len()));
            rest = behind;
            (!part.is_empty()).then_some(part)
        });
        let expected: Vec<Vec<f64>> = rows.iter()
            .map(|row| row.iter().map(|float| float.to_string().parse().unwrap()).collect())
            .collect();
        prop_assert_eq!(pushed(count, parts), Ok((expected, Some(count as u64))));
    }
}
