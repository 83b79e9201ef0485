//! [`Number`]: a number as it is to be written: in its own digits, or in the fewest that read back as the same float.

use bytes::{BufMut, BytesMut};
use std::fmt::Write;

/// See the module's description.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number<'a> {
    /// JSON's own text of a number.
    Digits(&'a [u8]),
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
            Number::Digits(digits) => {
                std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
            }
            Number::Single(float) => f64::from(float),
            Number::Double(float) => float,
        }
    }

    /// Appends it. As Go's encoder, which is Ollama's, with an exponent only for the very small and the very large.
    #[inline]
    pub(super) fn write(self, out: &mut BytesMut) {
        let is_plain = |size: f64| size == 0.0 || (1e-6..1e21).contains(&size);
        // Writing to a buffer that grows cannot fail.
        let _written = match self {
            Number::Digits(digits) => {
                out.put_slice(digits);
                Ok(())
            }
            Number::Single(float) if is_plain(f64::from(float).abs()) => write!(out, "{float}"),
            Number::Single(float) => write!(out, "{float:e}"),
            Number::Double(float) if is_plain(float.abs()) => write!(out, "{float}"),
            Number::Double(float) => write!(out, "{float:e}"),
        };
    }
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
            (Number::Digits(b"-0.10e+2"), "-0.10e+2"),
            (Number::Single(0.1), "0.1"),
            (Number::Single(-0.0), "-0"),
            (Number::Single(1e-7), "1e-7"),
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
        assert!(Number::Digits(b"1e400").value().is_infinite());
        assert!(Number::Digits(b"").value().is_nan());
        assert!(Number::Digits(b"\xff").value().is_nan());
    }

    proptest! {
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
