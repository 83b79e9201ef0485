//! Text that arrives in pieces, laid out for a terminal: broken between words, each word shown as soon as it is there.
//!
//! A piece may be part of a word, so what is on the screen is never taken back: only a word that comes whole in its
//! piece is moved to the next line, as the words of a model do. Control characters are dropped, since the text is a
//! peer's and the terminal is the person's.

use std::io::{self, Write};

/// Leaves two columns of the usual 80 free, so that a width guessed wrong does not break the line twice.
pub(super) const COLUMNS: usize = 78;

/// Invariant: `column` is where the cursor stands, `gap` whether a space is owed before the next word.
#[derive(Debug, Default)]
pub(super) struct Wrap {
    column: usize,
    gap: bool,
}

impl Wrap {
    pub(super) fn push(&mut self, piece: &str, out: &mut dyn Write) -> io::Result<()> {
        let mut rest = piece;
        while let Some(first) = rest.chars().next() {
            if first.is_whitespace() {
                self.space(first, out)?;
                rest = rest.get(first.len_utf8()..).unwrap_or_default();
                continue;
            }
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            self.word(word, out)?;
            rest = after;
        }
        out.flush()
    }

    fn space(&mut self, space: char, out: &mut dyn Write) -> io::Result<()> {
        if space != '\n' {
            self.gap = true;
            return Ok(());
        }
        self.column = 0;
        self.gap = false;
        out.write_all(b"\n")
    }

    fn word(&mut self, word: &str, out: &mut dyn Write) -> io::Result<()> {
        let word: String = word.chars().filter(|c| !c.is_control()).collect();
        let width: usize = word.chars().map(columns).sum();
        let gap = usize::from(self.gap && self.column > 0);
        if self.column > 0 && self.column + gap + width > COLUMNS {
            out.write_all(b"\n")?;
            self.column = 0;
        } else if gap == 1 {
            out.write_all(b" ")?;
            self.column += 1;
        }
        self.gap = false;
        self.column += width;
        out.write_all(word.as_bytes())
    }
}

/// The columns of a character, near enough: none for marks that join the one before, two for East Asian letters and
/// pictures. The full table is a crate of its own, and a wrong guess costs one uneven line.
fn columns(c: char) -> usize {
    match u32::from(c) {
        0x300..=0x36f | 0x200b..=0x200f | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff => 2,
        0xfe30..=0xfe6f | 0xff00..=0xff60 | 0x1f300..=0x1faff | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(pieces: &[&str]) -> String {
        let (mut wrap, mut out) = (Wrap::default(), Vec::new());
        for piece in pieces {
            wrap.push(piece, &mut out).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_break_between_words_and_stay_within_the_columns() {
        let words: Vec<String> = (0..200).map(|n| format!(" {}", "x".repeat(n % 13 + 1))).collect();
        let pieces: Vec<&str> = words.iter().map(String::as_str).collect();
        let text = wrapped(&pieces);
        assert!(text.lines().count() > 10);
        assert!(text.lines().all(|line| line.len() <= COLUMNS && line == line.trim()));
        assert_eq!(text.replace('\n', " "), words.concat().trim());
        assert_eq!(wrapped(&[&words.concat()]), text);
    }

    #[test]
    fn wide_letters_count_twice() {
        let text = wrapped(&[&"空".repeat(30), " ", &"空".repeat(30)]);
        assert_eq!(text.lines().map(|line| line.chars().count()).collect::<Vec<_>>(), [30, 30]);
    }

    #[test]
    fn parts_of_a_word_stay_together_and_newlines_are_kept() {
        assert_eq!(wrapped(&["Sun", "light", " is", "\n\n", "white"]), "Sunlight is\n\nwhite");
        assert_eq!(wrapped(&["\u{1b}[2Jgone\u{7}"]), "[2Jgone");
    }
}
