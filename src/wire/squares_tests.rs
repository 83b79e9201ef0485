//! Against the obvious code.

use super::super::Scanner;
use super::*;
use proptest::prelude::*;

/// Every number of an array, as a caller reads them.
fn read(array: &str) -> (Squares, usize) {
    let mut scanner = Scanner::new(array.as_bytes());
    let (mut squares, mut one_by_one) = (Squares::default(), 0);
    scanner.begin_array().unwrap();
    while scanner.next_element().unwrap() {
        let value = scanner.value().unwrap().bytes();
        squares.add(std::str::from_utf8(value).unwrap().parse().unwrap(), value.len());
        one_by_one += 1;
        scanner.pass_numbers(&mut squares);
    }
    scanner.end().unwrap();
    (squares, one_by_one)
}

fn sum(numbers: &[&str]) -> u128 {
    numbers
        .iter()
        .map(|text| {
            // All of it in decimal digits.
            let digits = text.trim_start_matches('-').strip_prefix("0.").unwrap();
            let units: u128 = format!("{digits:0<8}")[..8].parse().unwrap();
            units * units
        })
        .sum()
}

#[test]
fn fractions_of_any_length_are_passed_and_counted() {
    let behind = ",0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0]";
    for len in 1..=23 {
        for sign in ["", "-"] {
            let number = format!("{sign}0.{}", &"98765432109876543210987"[..len]);
            let text = format!(",{number}{behind}");
            let mut squares = Squares::default();
            let used = squares.pass(text.as_bytes());
            assert!(used > number.len(), "{number}");
            let zeros = (used - number.len() - 1) / 4;
            let expected = Squares { count: 1 + zeros, bytes: used, sum: sum(&[&number]) };
            assert_eq!(squares, expected, "{number}");
        }
    }
}

#[test]
fn what_is_written_otherwise_is_left_to_the_scanner() {
    let zeros = ",0.0".repeat(9);
    for number in [
        "1.5",
        "0",
        "-0",
        "0e0",
        "0.5e-1",
        "0.25E5",
        "0.",
        "-",
        "0.x",
        "00.5",
        ".5",
        "+0.5",
        "NaN",
        "null",
        "\"0.5\"",
        "[0.5]",
        "--0.5",
        "0.123456789012345678901234",
        "",
    ] {
        let mut squares = Squares::default();
        assert_eq!(squares.pass(format!(",0.5,{number}{zeros}]").as_bytes()), 4, "{number}");
        assert_eq!(squares, Squares { count: 1, bytes: 4, sum: 50_000_000 * 50_000_000 }, "{number}");
    }
    for text in [" ,0.5", "0.5,0.5", "]", "}", "["] {
        assert_eq!(Squares::default().pass(format!("{text}{zeros}]").as_bytes()), 0, "{text}");
    }
    // Whatever stands behind a number, the scanner sees it.
    for behind in ["]", "}", " ", ":", "-", ".5"] {
        assert_eq!(Squares::default().pass(format!(",0.5{behind}{zeros}]").as_bytes()), 4, "{behind}");
    }
}

#[test]
fn white_space_is_passed_with_the_number_behind_it() {
    let text = ", 0.5,\r\n\t -0.25, 1,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5]";
    let mut squares = Squares::default();
    assert_eq!(squares.pass(text.as_bytes()), text.find(", 1").unwrap());
    assert_eq!(squares, Squares { count: 2, bytes: 10, sum: sum(&["0.5", "0.25"]) });
}

#[test]
fn a_number_that_is_too_large_is_far_from_unit_length() {
    for number in ["1e300", "1e20", "3", "-1.1"] {
        let array = format!("[{number}{}]", ",0.99999999".repeat(100));
        assert!(!read(&array).0.are_unit(1e-6), "{number}");
    }
}

#[test]
fn only_the_ends_of_usual_arrays_are_read_one_by_one() {
    let array = format!("[{}]", vec!["-0.025515518153991"; 1536].join(","));
    let (squares, one_by_one) = read(&array);
    assert_eq!((squares.count, squares.bytes + 1), (1536, array.len()));
    assert!(squares.are_unit(1e-6));
    assert!(one_by_one <= 4, "{one_by_one}");
}

/// A number in one of the ways in which backends write them.
fn written(number: f64, way: u8) -> String {
    match way % 6 {
        0 => format!("{number}"),
        1 => format!("{number:.17}"),
        2 => format!("{number:e}"),
        3 => format!("{}", number as f32),
        4 => format!("{number:.9}"),
        _ => format!(" {number:.20}\n"),
    }
}

proptest! {
    /// What is said to be certain holds for the exact numbers, and is said of what is as near as 32-bit floats are.
    #[test]
    fn a_vector_of_unit_length_is_told_for_certain(
        numbers in proptest::collection::vec(-1.0_f64..1.0, 1..2000),
        ways in proptest::collection::vec(any::<u8>(), 1..20),
        stretch in prop_oneof![Just(0.0), -3e-7..3e-7, -3e-6..3e-6],
    ) {
        let norm = numbers.iter().map(|x| x * x).sum::<f64>().sqrt();
        prop_assume!(norm > 0.0);
        let texts: Vec<String> = numbers.iter().zip(ways.iter().cycle())
            .map(|(x, way)| written(x / norm * (1.0 + stretch), *way))
            .collect();
        let (squares, _) = read(&format!("[{}]", texts.join(",")));
        prop_assert_eq!(squares.count, texts.len());
        prop_assert_eq!(squares.bytes, texts.iter().map(|text| text.trim().len() + 1).sum::<usize>());
        let exact = texts.iter().map(|text| text.trim().parse::<f64>().unwrap().powi(2)).sum::<f64>().sqrt();
        let off = (exact - 1.0).abs();
        if squares.are_unit(1e-6) {
            prop_assert!(off < 1e-6, "{}", off);
        } else {
            prop_assert!(off > 5e-7, "{}", off);
        }
    }

    /// The same grammar as the scanner's, at every place and with any bytes.
    #[test]
    fn nothing_is_passed_that_the_scanner_refuses(
        texts in proptest::collection::vec(r"-?[0-9]{1,2}(\.[0-9]{0,26})?([eE][-+]?[0-9]{0,2})?|[ \n]0\.5|0\.[0-9]{1,9} ?", 1..30),
    ) {
        let text = format!("[{}]", texts.join(","));
        let mut plain = Scanner::new(text.as_bytes());
        let mut quick = Scanner::new(text.as_bytes());
        let walk = |scanner: &mut Scanner<'_>, is_quick: bool| {
            let mut squares = Squares::default();
            scanner.begin_array()?;
            while scanner.next_element()? {
                let value = scanner.value()?.bytes();
                squares.add(0.0, value.len());
                if is_quick {
                    scanner.pass_numbers(&mut squares);
                }
            }
            Ok::<_, super::super::JsonError>((squares.count, squares.bytes, scanner.offset()))
        };
        prop_assert_eq!(walk(&mut plain, false), walk(&mut quick, true));
    }
}
