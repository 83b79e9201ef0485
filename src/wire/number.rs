//! [`Number`]: a number as it is to be written: in its own digits, or in the fewest that read back as the same float.

use bytes::{BufMut, BytesMut};
use std::iter;

/// See the module's description.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number<'a> {
    /// JSON's own text of a number.
    Digits(&'a str),
    /// A 32-bit float, which is finite.
    Single(f32),
    /// A 64-bit float, which is finite.
    Double(f64),
}

impl Number<'_> {
    /// The nearest 64-bit float: infinite past their range, NaN where the digits are none.
    #[must_use]
    #[inline]
    pub fn value(self) -> f64 {
        match self {
            Number::Digits(digits) => digits.parse().unwrap_or(f64::NAN),
            Number::Single(float) => f64::from(float),
            Number::Double(float) => float,
        }
    }

    /// Appends it. As Go's encoder, which is Ollama's, with an exponent only for the very small and the very large.
    #[inline]
    pub(super) fn write(self, out: &mut BytesMut) {
        let mut buffer = zmij::Buffer::new();
        let (text, size) = match self {
            Number::Digits(digits) => return out.put_slice(digits.as_bytes()),
            Number::Single(float) => (buffer.format_finite(float), f64::from(float).abs()),
            Number::Double(float) => (buffer.format_finite(float), float.abs()),
        };
        // Where `zmij` writes no exponent either.
        if (1e-5..1e12).contains(&size) {
            return out.put_slice(without_point(text));
        }
        write_rare(text, size, out);
    }
}

/// A whole number has a point, as `zmij` writes it.
fn without_point(text: &str) -> &[u8] {
    text.strip_suffix(".0").unwrap_or(text).as_bytes()
}

/// A number that `zmij` may have written with an exponent, where none is to be, and of which the exponent has no plus.
#[inline(never)]
fn write_rare(text: &str, size: f64, out: &mut BytesMut) {
    let Some((digits, exponent)) = text.split_once('e') else { return out.put_slice(without_point(text)) };
    let exponent = exponent.strip_prefix('+').unwrap_or(exponent);
    if !(1e-6..1e21).contains(&size) {
        return [digits, "e", exponent].iter().for_each(|part| out.put_slice(part.as_bytes()));
    }
    // Below one all digits stand behind the point; what is large enough for an exponent has none there.
    let places: i32 = exponent.parse().unwrap_or_default();
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    let (first, others) = digits.split_once('.').unwrap_or((digits, ""));
    let zeros = |count: i32| iter::repeat_n(b'0', usize::try_from(count).unwrap_or_default());
    out.put_slice(sign.as_bytes());
    if places < 0 {
        out.put_slice(b"0.");
        out.extend(zeros(-places - 1));
    }
    out.put_slice(first.as_bytes());
    out.put_slice(others.as_bytes());
    out.extend(zeros(places - others.len() as i32));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(number: Number<'_>) -> String {
        let mut out = BytesMut::new();
        number.write(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn digits_stay_and_floats_take_the_fewest() {
        let table = [
            (Number::Digits("-0.10e+2"), "-0.10e+2"),
            (Number::Single(0.1), "0.1"),
            (Number::Single(-0.0), "-0"),
            (Number::Single(1e-6), "0.000001"),
            (Number::Single(1e-7), "1e-7"),
            (Number::Single(16_777_216e6), "16777216000000"),
            (Number::Double(0.000_001_234_5), "0.0000012345"),
            (Number::Double(-0.000_002), "-0.000002"),
            (Number::Double(-12_345_678e10), "-123456780000000000"),
            (Number::Single(f32::MAX), "3.4028235e38"),
            (Number::Double(1.0 / 3.0), "0.3333333333333333"),
            (Number::Double(1e-6), "0.000001"),
            (Number::Double(5e-324), "5e-324"),
            (Number::Double(1e20), "100000000000000000000"),
            (Number::Double(f64::MAX), "1.7976931348623157e308"),
        ];
        for (number, expected) in table {
            assert_eq!(written(number), expected);
        }
    }

    #[test]
    fn what_is_no_finite_number_has_a_value_that_says_so() {
        assert!(Number::Digits("1e400").value().is_infinite());
        assert!(Number::Digits("").value().is_nan());
        assert!(Number::Digits("0.5.").value().is_nan());
    }

    /// Whether it is what the standard library writes, with an exponent where that is called for. Of two texts that are
    /// as short and as near, which are those of a tie, either will do.
    fn is_usual(found: &str, is_plain: bool, plain: String, exponential: String) -> bool {
        let usual = if is_plain { plain } else { exponential };
        let (last, usual_last) = (found.len().saturating_sub(1), usual.len() - 1);
        found == usual || found.get(..last) == usual.get(..usual_last)
    }

    proptest! {
        #[test]
        fn floats_are_written_as_by_the_standard_library(
            bits in any::<u64>(),
            digits in 0_u64..100_000_000_000_000_000,
            places in -25_i32..30,
        ) {
            let near: f64 = format!("{digits}e{places}").parse().unwrap();
            let short: f64 = format!("{}e{places}", digits % 1000).parse().unwrap();
            for double in [f64::from_bits(bits), near, -near, short, short * 1e-17, near * 1e-17] {
                if double.is_finite() {
                    let found = written(Number::Double(double));
                    let is_plain = double == 0.0 || (1e-6..1e21).contains(&double.abs());
                    let is_usual = is_usual(&found, is_plain, format!("{double}"), format!("{double:e}"));
                    prop_assert!(is_usual, "{}: {}", double, found);
                }
                let single = double as f32;
                if single.is_finite() {
                    let found = written(Number::Single(single));
                    let is_plain = single == 0.0 || (1e-6..1e21).contains(&single.abs());
                    let is_usual = is_usual(&found, is_plain, format!("{single}"), format!("{single:e}"));
                    prop_assert!(is_usual, "{}: {}", single, found);
                }
            }
        }

        #[test]
        fn every_finite_float_reads_back_bit_by_bit(bits in any::<u64>()) {
            let (double, single) = (f64::from_bits(bits), f32::from_bits(bits as u32));
            if double.is_finite() {
                let read: f64 = serde_json::from_str(&written(Number::Double(double))).unwrap();
                prop_assert_eq!(written(Number::Double(double)).parse::<f64>().unwrap().to_bits(), bits);
                prop_assert!(read.is_finite());
            }
            if single.is_finite() {
                let text = written(Number::Single(single));
                prop_assert!(serde_json::from_str::<f64>(&text).is_ok(), "{}", text);
                prop_assert_eq!(text.parse::<f32>().unwrap().to_bits(), single.to_bits());
            }
        }
    }
}
