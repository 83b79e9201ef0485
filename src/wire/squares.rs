//! [`Squares`]: whether the numbers of an array are a vector of unit length, told without reading all their digits.
//!
//! Nearly every number of a vector is written as `0.` and digits, and their array is a megabyte: a pass over it that
//! takes eight digits at a time checks the grammar and adds up the squares of what the first eight decimals say, in
//! whole numbers. What it says is certain, never a guess: see [`Squares::are_unit`].

/// Of a number are taken the longest text that has at most 23 decimals, the byte before it and the one behind it.
const WINDOW: usize = 32;
/// Decimals that count.
const SCALE: f64 = 1e8;
/// What a number counts at most: 10,000, with which no vector is of unit length. So no sum of squares that fits into the
/// memory can be past 128 bits.
const MAX_UNITS: f64 = 1e12;

/// What is known of the numbers that were passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Squares {
    /// How many.
    pub count: usize,
    /// The length of their texts, with a comma for each.
    pub bytes: usize,
    /// The sum of the squares of all `|x|` in hundred-millionths, each rounded down.
    sum: u128,
}

impl Squares {
    /// Adds a number, which is finite and was written in so many bytes.
    pub fn add(&mut self, number: f64, bytes: usize) {
        let units = (number.abs() * SCALE).min(MAX_UNITS) as u128;
        self.sum = self.sum.wrapping_add(units * units);
        self.count += 1;
        self.bytes += bytes + 1;
    }

    /// Whether the Euclidean norm of the numbers differs from 1 by less than `near`, for certain. Where this says no,
    /// only the exact numbers tell.
    ///
    /// Let `x` be the vector of the absolute values, `n` its length and `v` the vector of whole numbers that was
    /// summed. For each number `0 <= x - v / 10^8 < 10^-8`, so the difference of the two vectors is no longer than
    /// `sqrt(n) 10^-8`, and by the triangle inequality `|v| 10^-8 <= |x| <= (|v| + sqrt(n)) 10^-8`: for 1,536 numbers
    /// the two ends are 4e-7 apart. The sum itself is exact; the conversions there and in [`add`](Self::add) round five
    /// times at most, each by 2^-53 of the value, for which `ROUNDED` is left.
    #[must_use]
    pub fn are_unit(&self, near: f64) -> bool {
        const ROUNDED: f64 = 1e-14;
        let root = (self.sum as f64).sqrt();
        let (least, most) = (root / SCALE, (root + (self.count as f64).sqrt()) / SCALE);
        least > 1.0 - near + ROUNDED && most < 1.0 + near - ROUNDED
    }

    /// `text` goes on behind a number of an array. Passes the numbers that follow as long as they are written as `0.`
    /// and digits, with or without white space before them; gives how many bytes that took, up to behind the last one.
    #[inline(never)]
    pub(super) fn pass(&mut self, text: &[u8]) -> usize {
        if text.first() != Some(&b',') {
            return 0;
        }
        // Invariant: the byte at `at` is the comma before the next number, or the last of the white space behind it;
        // `taken` is the end of the last number, and `blanks` counts all white space before `at`.
        let (mut at, mut taken, mut blanks) = (0, 0, 0);
        let (mut sum, mut count) = (self.sum, self.count);
        while let Some(window) = text.get(at..).and_then(|rest| rest.first_chunk::<WINDOW>()) {
            let Some(Fraction { units, end }) = fraction(window) else {
                let more = leading_blanks(window.get(1..).unwrap_or_default());
                if more == 0 {
                    break;
                }
                (at, blanks) = (at + more, blanks + more);
                continue;
            };
            let behind = window.get(end).copied().unwrap_or_default();
            let is_last = behind != b',';
            if is_last && matches!(behind, b'e' | b'E') {
                break;
            }
            sum = sum.wrapping_add(u128::from(units * units));
            count += 1;
            at += end;
            taken = at;
            if is_last {
                break;
            }
        }
        (self.sum, self.count) = (sum, count);
        self.bytes += taken - (blanks - (at - taken));
        taken
    }
}

/// A number of the window.
struct Fraction {
    /// Its absolute value in hundred-millionths, rounded down.
    units: u64,
    /// Where its digits end.
    end: usize,
}

/// The number behind the window's first byte, if it is written as `0.` and one to 23 digits.
#[inline(always)]
fn fraction(window: &[u8; WINDOW]) -> Option<Fraction> {
    // Signs are as good as random: no branch may depend on one.
    let number = 1 + usize::from(window.get(1) == Some(&b'-'));
    if window.get(number..number + 2) != Some(b"0.") {
        return None;
    }
    let word = |at: usize| window.get(at..at + 8).and_then(|word| word.first_chunk()).map(digits);
    let mut end = number + 2;
    let first = word(end)?;
    if first.others & 0x80 != 0 {
        return None;
    }
    if first.others != 0 {
        end += first.count();
    } else {
        let second = word(end + 8)?;
        if second.others != 0 {
            end += 8 + second.count();
        } else {
            let third = word(end + 16)?;
            if third.others == 0 {
                return None;
            }
            end += 16 + third.count();
        }
    }
    Some(Fraction { units: first.units(), end })
}

/// Eight bytes, of which the first is the lowest.
struct Digits {
    /// The value of each byte that is a digit.
    values: u64,
    /// The high bit of each byte that is no digit, up to the first of them; above that it may have false ones.
    others: u64,
}

#[inline(always)]
fn digits(word: &[u8; 8]) -> Digits {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let values = u64::from_le_bytes(*word) ^ (ONES * 0x30);
    // A digit is 0 to 9 now, and what is more than that has its high bit set or gets it by adding 118. A carry out of
    // a byte means that the byte is no digit.
    let others = (values.wrapping_add(ONES * 0x76) | values) & (ONES * 0x80);
    Digits { values, others }
}

impl Digits {
    /// How many digits stand at the beginning.
    #[inline(always)]
    fn count(&self) -> usize {
        (self.others.trailing_zeros() / 8) as usize
    }

    /// What those say as the first of eight decimals, the missing ones being zeros.
    ///
    /// Neighbours are joined to pairs, pairs to fours and fours to one number, each time in all places at once: the
    /// digit that counts more stands in the lower byte, so it is multiplied up to the place of the other.
    #[inline(always)]
    fn units(&self) -> u64 {
        // All bytes below the first high bit; all eight where there is none.
        let known = ((self.others & self.others.wrapping_neg()) >> 7).wrapping_sub(1);
        let pairs = (self.values & known).wrapping_mul(10 * 0x100 + 1) >> 8 & 0x00FF_00FF_00FF_00FF;
        let fours = pairs.wrapping_mul(100 * 0x1_0000 + 1) >> 16 & 0x0000_FFFF_0000_FFFF;
        fours.wrapping_mul(10_000 * 0x1_0000_0000 + 1) >> 32
    }
}

#[inline(never)]
fn leading_blanks(text: &[u8]) -> usize {
    text.iter().take_while(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')).count()
}

#[cfg(test)]
#[path = "squares_tests.rs"]
mod tests;
