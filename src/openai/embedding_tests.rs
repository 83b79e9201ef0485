//! Single vectors, in digits and in base64.

use super::*;
use proptest::prelude::*;

fn read(element: &str) -> Result<Embedding, String> {
    Embedding::read(element.as_bytes().to_vec()).map_err(|bad| match bad {
        BadEmbedding::Malformed(what) => what,
        BadEmbedding::NotFinite => "not finite".to_string(),
    })
}

fn values(element: &str) -> Vec<f64> {
    let embedding = read(element).unwrap();
    let values: Vec<f64> = embedding.values.iter().map(Number::value).collect();
    assert_eq!(values.len(), embedding.len);
    values
}

/// As the vendors' libraries pack them.
fn base64(floats: &[f32]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bytes: Vec<u8> = floats.iter().flat_map(|float| float.to_le_bytes()).collect();
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let word =
            group.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let sextet = (word >> (18 - 6 * place)) as usize & 63;
            text.push(if place <= group.len() { char::from(ALPHABET[sextet]) } else { '=' });
        }
    }
    text
}

#[test]
fn digits_are_kept_as_they_were_written() {
    let embedding =
        read(r#"{"object":"embedding","embedding":[ 0.10 , -1e-3,2],"index":7,"x":{"y":[]}}"#).unwrap();
    let digits: Vec<Number<'_>> = embedding.values.iter().collect();
    let expected = ["0.10", "-1e-3", "2"].map(Number::Digits);
    assert_eq!((digits.as_slice(), embedding.index, embedding.len), (&expected[..], Some(7), 3));
}

#[test]
fn an_array_stands_ready_behind_a_comma_and_without_white_space() {
    let long = vec!["-0.025515518153991"; 1536].join(", ");
    for numbers in ["1", " -1e-3 ,2\r\n,\t3 ", long.as_str()] {
        for element in [
            format!(r#"{{"embedding":[{numbers}]}}"#),
            format!(r#" {{ "index":0, "embedding" : [{numbers}] ,"x":"[1, 2]" }}"#),
        ] {
            let compact: String = numbers.split_ascii_whitespace().collect();
            let embedding = read(&element).unwrap();
            let array = embedding.values.digits().unwrap();
            assert_eq!(array, format!(",[{compact}]").as_bytes(), "{element}");
        }
    }
}

#[test]
fn of_an_element_only_the_vector_is_kept() {
    let own = r#"{"embedding":[0.6,0.8],"index":0}"#.as_bytes().to_vec();
    let memory = own.as_ptr_range();
    let kept = Embedding::read(own).unwrap();
    assert!(memory.contains(&kept.values.digits().unwrap().as_ptr()), "without a copy");
    for vector in ["[0.6,0.8]", r#""AACAPw==""#] {
        let large = format!(r#"{{"embedding":{vector},"text":"{}"}}"#, "x".repeat(1000)).into_bytes();
        let memory = large.as_ptr_range();
        let (Values::Digits(kept) | Values::Singles(kept)) = Embedding::read(large).unwrap().values;
        assert!(!memory.contains(&kept.as_ptr()), "{vector}");
    }
}

#[test]
fn base64_is_32_bit_floats_with_the_lowest_byte_first() {
    assert_eq!(values(r#"{"embedding":"AACAPw=="}"#), [1.0]);
    assert_eq!(values(r#"{"embedding":"AACAPwAAAMA="}"#), [1.0, -2.0]);
    assert_eq!(values(r#"{"embedding":"AACAPwAAAMA"}"#), [1.0, -2.0], "padding may be missing");
    assert_eq!(values(r#"{"embedding":"AACAPwAAAMAAAAA\/"}"#), [1.0, -2.0, 0.5], "a slash may be escaped");
}

#[test]
fn a_missing_index_is_none() {
    assert_eq!(read(r#"{"embedding":[1]}"#).unwrap().index, None);
    assert_eq!(read(r#"{"embedding":[1],"index":null}"#).unwrap().index, None);
}

#[test]
fn an_index_may_be_written_as_a_float() {
    assert_eq!(read(r#"{"embedding":[1],"index":2.0}"#).unwrap().index, Some(2));
    // Past every list, so no list has it twice by rounding.
    assert_eq!(read(r#"{"embedding":[1],"index":1e300}"#).unwrap().index, Some(u64::MAX));
}

#[test]
fn what_is_no_vector_is_named() {
    let table = [
        ("5", ": expected an object, found number"),
        ("[1]", ": expected an object, found array"),
        ("{}", " has no `embedding`"),
        (r#"{"embedding":[]}"#, ".embedding is empty"),
        (r#"{"embedding":""}"#, ".embedding is empty"),
        (r#"{"embedding":null}"#, ".embedding: expected an array or a base64 string, found null"),
        (r#"{"embedding":[1,"2"]}"#, ".embedding[1]: expected a number, found string"),
        (r#"{"embedding":[[1]]}"#, ".embedding[0]: expected a number, found array"),
        (r#"{"embedding":"AA!="}"#, ".embedding is no base64"),
        (r#"{"embedding":"AAAAA"}"#, ".embedding is no base64"),
        (r#"{"embedding":"AAAA"}"#, ".embedding has 3 bytes, which are no 32-bit floats"),
        (r#"{"embedding":[1],"index":1.5}"#, ".index is 1.5"),
        (r#"{"embedding":[1],"index":-1}"#, ".index is -1"),
        (r#"{"embedding":[1],"index":"0"}"#, ".index: expected an integer, found string"),
        (r#"{"embedding":[1,]}"#, ": invalid character at offset 16"),
        (r#"{"embedding":[01]}"#, ": invalid character at offset 15"),
        (r#"{"embedding":[1]"#, ": unexpected end of JSON input at offset 16"),
    ];
    for (element, expected) in table {
        assert_eq!(read(element).unwrap_err(), expected, "{element}");
    }
}

#[test]
fn what_is_not_finite_is_told_apart() {
    for number in ["NaN", "-NaN", "nan", "Infinity", "-Infinity", "inf", "-inf", "null", "1e400", "-1e999"] {
        for array in [format!("[{number}]"), format!("[0.5, {number},1]")] {
            let element = format!(r#"{{"embedding":{array},"index":0}}"#);
            assert_eq!(read(&element).unwrap_err(), "not finite", "{element}");
        }
    }
    for float in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let element = format!(r#"{{"embedding":"{}"}}"#, base64(&[1.0, float]));
        assert_eq!(read(&element).unwrap_err(), "not finite", "{float}");
    }
}

#[test]
fn the_norm_is_that_of_the_numbers_whatever_their_size() {
    let norm = |numbers: &[f64]| {
        let norm = Norm::of(numbers.iter().copied());
        (norm.is_unit(), numbers.iter().map(|number| norm.scaled(*number)).collect::<Vec<f64>>())
    };
    assert_eq!(norm(&[3.0, -4.0]), (false, vec![0.6, -0.8]));
    for (size, what) in [(1e300, "past the square"), (1e-200, "below the square"), (5e-324, "the least")] {
        let (is_unit, scaled) = norm(&[size, -size]);
        let half = 0.5_f64.sqrt();
        assert!(!is_unit, "{what}");
        assert!((scaled[0] - half).abs() < 1e-15 && (scaled[1] + half).abs() < 1e-15, "{what}: {scaled:?}");
    }
    assert!(norm(&[0.0, 0.0]).0, "zeros have no direction and stay");
    assert!(norm(&[0.6, 0.8]).0);
    assert!(norm(&[0.6, 0.800_000_9]).0);
    assert!(!norm(&[0.6, 0.800_002]).0);
}

#[test]
fn an_element_of_unit_length_is_told() {
    for (numbers, is_unit) in [
        ("0.6,-0.8", true),
        ("1", true),
        ("6e-1, 8E-01", true),
        ("0.6,0.8000009", true),
        ("0.6,0.800002", false),
        ("3e200,4e200", false),
        ("0.0,0", false),
    ] {
        assert_eq!(read(&format!(r#"{{"embedding":[{numbers}]}}"#)).unwrap().is_unit, is_unit, "{numbers}");
    }
}

proptest! {
    #[test]
    fn packed_floats_come_out_bit_by_bit(bits in proptest::collection::vec(any::<u32>(), 1..20)) {
        let floats: Vec<f32> = bits.iter().map(|bits| f32::from_bits(*bits)).filter(|x| x.is_finite()).collect();
        prop_assume!(!floats.is_empty());
        let embedding = read(&format!(r#"{{"embedding":"{}"}}"#, base64(&floats))).unwrap();
        let found: Vec<u32> = embedding.values.iter().map(|number| match number {
            Number::Single(float) => float.to_bits(),
            other => panic!("{other:?}"),
        }).collect();
        prop_assert_eq!(found, floats.iter().map(|float| float.to_bits()).collect::<Vec<_>>());
    }
}
