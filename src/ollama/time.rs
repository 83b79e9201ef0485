//! [`Timestamp`]: `created_at`, as Go writes it (RFC 3339 with up to nine digits, trailing zeros trimmed, `Z`).
//!
//! No date crate: one calendar conversion is all there is to it (days to a civil date, after Howard Hinnant's
//! public-domain paper "chrono-Compatible Low-Level Date Algorithms").

use bytes::{BufMut, BytesMut};
use std::time::Duration;

/// A point in time: nanoseconds since 1970-01-01T00:00:00Z. Reaches to the year 2554.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    unix_ns: u64,
}

impl Timestamp {
    /// From nanoseconds since the epoch.
    #[must_use]
    pub fn from_unix_ns(unix_ns: u64) -> Self {
        Timestamp { unix_ns }
    }

    /// From whole seconds since the epoch, as OpenAI's `created` counts.
    #[must_use]
    pub fn from_unix_seconds(seconds: u64) -> Self {
        Timestamp { unix_ns: seconds.saturating_mul(1_000_000_000) }
    }

    /// The time `later` than this.
    #[must_use]
    pub fn after(self, later: Duration) -> Self {
        let ns = later.as_secs().saturating_mul(1_000_000_000).saturating_add(later.subsec_nanos().into());
        Timestamp { unix_ns: self.unix_ns.saturating_add(ns) }
    }

    /// The time `earlier` than this.
    #[must_use]
    pub fn before(self, earlier: Duration) -> Self {
        let ns = u64::try_from(earlier.as_nanos()).unwrap_or(u64::MAX);
        Timestamp { unix_ns: self.unix_ns.saturating_sub(ns) }
    }

    /// Appends the text, without quotes.
    pub fn write(self, out: &mut BytesMut) {
        let mut text = TimestampText::default();
        text.set(self);
        out.put_slice(text.as_bytes());
    }

    /// Appends the text with six digits and an offset in numbers: Python before 3.11 reads no other fraction and no `Z`.
    pub fn write_micros(self, out: &mut BytesMut) {
        out.put_slice(&to_the_second(self.unix_ns / 1_000_000_000));
        out.put_u8(b'.');
        out.put_slice(&digits::<6>(self.unix_ns / 1000 % 1_000_000));
        out.put_slice(b"+00:00");
    }
}

/// The text of a [`Timestamp`], set again and again as time goes on: within a second only its fraction is made anew.
#[derive(Clone, Debug)]
pub struct TimestampText {
    text: [u8; TO_THE_SECOND + FRACTION],
    len: usize,
    /// The second that the text is of.
    second: u64,
}

/// `2026-11-22T00:00:00`
const TO_THE_SECOND: usize = 19;
/// `.123456789Z`
const FRACTION: usize = 11;

impl Default for TimestampText {
    fn default() -> Self {
        // A second that no timestamp reaches.
        TimestampText { text: [0; TO_THE_SECOND + FRACTION], len: 0, second: u64::MAX }
    }
}

impl TimestampText {
    /// Makes it the text of `time`. Not inlined: it would take the registers of what writes the lines.
    #[inline(never)]
    pub fn set(&mut self, time: Timestamp) {
        let (second, ns) = (time.unix_ns / 1_000_000_000, time.unix_ns % 1_000_000_000);
        let Some((whole, fraction)) = self.text.split_first_chunk_mut::<TO_THE_SECOND>() else { return };
        if self.second != second {
            *whole = to_the_second(second);
            self.second = second;
        }
        let (first, rest) = (ns / 100_000_000, eight_digits((ns % 100_000_000) as u32));
        // The last digit is in the highest byte.
        let zeros = rest.leading_zeros() as usize / 8;
        let [f1, f2, f3, f4, f5, f6, f7, f8] = (rest | 0x3030_3030_3030_3030).to_le_bytes();
        let Some(fraction) = fraction.first_chunk_mut::<FRACTION>() else { return };
        *fraction = [b'.', b'0' + first as u8, f1, f2, f3, f4, f5, f6, f7, f8, b'Z'];
        // Without digits there is no point either.
        let end = if ns == 0 { 0 } else { FRACTION - 1 - zeros };
        if let Some(last) = fraction.get_mut(end) {
            *last = b'Z';
        }
        self.len = TO_THE_SECOND + end + 1;
    }

    /// The text, without quotes; empty before the first [`set`](Self::set).
    #[must_use]
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.text.get(..self.len).unwrap_or_default()
    }
}

fn to_the_second(seconds: u64) -> [u8; TO_THE_SECOND] {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil_from_days(days);
    let ([y0, y1, y2, y3], [m0, m1], [d0, d1]) = (digits(year), digits(month), digits(day));
    let [h0, h1] = digits(second / 3600);
    let ([n0, n1], [s0, s1]) = (digits(second / 60 % 60), digits(second % 60));
    [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T', h0, h1, b':', n0, n1, b':', s0, s1]
}

/// The eight digits of a number, the first in the lowest byte: all are made at once, since every read of a stream needs
/// them. The number is split into halves, those into pairs, and those into digits; what is multiplied with is the inverse
/// of 100 and of 10, precise enough for what can stand there. Nothing of it can overflow, so nothing is checked.
#[inline]
fn eight_digits(number: u32) -> u64 {
    let halves = u64::from(number / 10_000) | u64::from(number % 10_000) << 32;
    let hundreds = (halves.wrapping_mul(10_486) >> 20) & 0x7F_0000_007F;
    let pairs = hundreds | halves.wrapping_sub(hundreds.wrapping_mul(100)) << 16;
    let tens = (pairs.wrapping_mul(103) >> 10) & 0x000F_000F_000F_000F;
    tens | pairs.wrapping_sub(tens.wrapping_mul(10)) << 8
}

/// The last digits of a number.
fn digits<const N: usize>(number: u64) -> [u8; N] {
    let (mut digits, mut rest) = ([b'0'; N], number);
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    digits
}

/// Year, month and day of the given day since 1970-01-01. Years begin in March here, so that the leap day is last.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468; // days since 0000-03-01
    let era = shifted / 146_097; // of 400 years
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(timestamp: Timestamp) -> String {
        let mut out = BytesMut::new();
        timestamp.write(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn known_instants() {
        let table = [
            (0, 0, "1970-01-01T00:00:00Z"),
            (951_782_400, 0, "2000-02-29T00:00:00Z"),
            (951_868_800, 500_000_000, "2000-03-01T00:00:00.5Z"),
            (1_787_306_400, 123_456_789, "2026-08-21T10:00:00.123456789Z"),
            (4_107_542_399, 1, "2100-02-28T23:59:59.000000001Z"),
            (4_107_542_400, 120_000_000, "2100-03-01T00:00:00.12Z"),
        ];
        for (seconds, ns, expected) in table {
            let timestamp = Timestamp::from_unix_seconds(seconds).after(Duration::from_nanos(ns));
            assert_eq!(text(timestamp), expected);
        }
    }

    #[test]
    fn a_text_that_is_set_again_is_as_one_made_anew() {
        let mut again = TimestampText::default();
        assert_eq!(again.as_bytes(), b"");
        for ns in
            [0, 123_456_789, 120_000_000, 999_999_999, 1_000_000_000, 1_000_000_001, 86_400_000_000_000, 5]
        {
            let timestamp = Timestamp::from_unix_ns(1_787_306_400_000_000_000 + ns);
            again.set(timestamp);
            assert_eq!(String::from_utf8_lossy(again.as_bytes()), text(timestamp), "{ns}");
        }
    }

    #[test]
    fn eight_digits_are_those_of_the_number() {
        for number in (0..10_000).map(|half| half * 10_000 + 9_999 - half).chain([0, 1, 10, 99_999_999]) {
            let digits = (eight_digits(number) | 0x3030_3030_3030_3030).to_le_bytes();
            assert_eq!(String::from_utf8_lossy(&digits), format!("{number:08}"));
        }
    }

    #[test]
    fn with_an_offset_there_are_six_digits() {
        for (ns, fraction) in
            [(0, "000000"), (999, "000000"), (120_000_000, "120000"), (123_456_789, "123456")]
        {
            let mut out = BytesMut::new();
            Timestamp::from_unix_ns(1_787_306_400_000_000_000 + ns).write_micros(&mut out);
            assert_eq!(out, format!("2026-08-21T10:00:00.{fraction}+00:00"));
        }
    }

    #[test]
    fn a_time_past_the_range_stays_at_its_end() {
        assert_eq!(text(Timestamp::from_unix_seconds(u64::MAX)), "2554-07-21T23:34:33.709551615Z");
    }
}
