//! [`ChunkedDecoder`]: the chunked transfer coding of HTTP/1.1 (RFC 9112, section 7.1), cut anywhere.
//!
//! It lends the data as it stands in the input, and copies nothing. Extensions and trailers are read over.

use std::fmt;

/// Most bytes of extensions and trailers in one body: nobody needs them, and a peer could send them for ever.
const MAX_IGNORED_BYTES: usize = 16 << 10;

/// Why a body cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChunkedError {
    /// This byte cannot stand where it does.
    Unexpected(u8),
    /// A chunk's size needs more than 64 bits.
    TooLarge,
    /// Extensions and trailers take more than 16 KiB.
    TooMuchIgnored,
}

impl fmt::Display for ChunkedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChunkedError::Unexpected(byte) => {
                write!(f, "unexpected '{}' between the chunks", byte.escape_ascii())
            }
            ChunkedError::TooLarge => f.write_str("a chunk's size needs more than 64 bits"),
            ChunkedError::TooMuchIgnored => {
                write!(f, "extensions and trailers of more than {MAX_IGNORED_BYTES} bytes")
            }
        }
    }
}

impl std::error::Error for ChunkedError {}

/// See the module's description.
#[derive(Clone, Debug)]
pub(super) struct ChunkedDecoder {
    at: At,
    /// The size as far as it is read, then how much of the chunk is still to come.
    left: u64,
    /// Bytes of extensions and trailers.
    ignored: usize,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// The first digit of a size.
    Size,
    /// Another digit, an extension, or the end of the line.
    MoreSize,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// The last chunk is read: a trailer, or the blank line.
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
    /// Nothing.
    End,
}

impl Default for ChunkedDecoder {
    fn default() -> Self {
        ChunkedDecoder { at: At::Size, left: 0, ignored: 0 }
    }
}

impl ChunkedDecoder {
    /// Takes bytes off the front of `input` until there is data, and gives that. `None`: all of the input is taken, or
    /// the body ended; what is left of the input then does not belong to it.
    ///
    /// # Errors
    /// When the bytes are not chunked. The body cannot be read on after that.
    pub(super) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<&'a [u8]>, ChunkedError> {
        while let (false, Some((byte, rest))) = (self.is_end(), input.split_first()) {
            if self.at == At::Data {
                let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len());
                let (data, rest) = input.split_at(len);
                *input = rest;
                self.left -= len as u64;
                if self.left == 0 {
                    self.at = At::DataCr;
                }
                return Ok(Some(data));
            }
            if !self.skip_between(input) {
                *input = rest;
                self.at = self.step(*byte)?;
            }
        }
        Ok(None)
    }

    /// Takes what nearly always stands between the data of two chunks, where all of it is in the input. `false`: nothing
    /// was taken, and [`step`](Self::step) tells what the next byte is.
    #[inline]
    fn skip_between(&mut self, input: &mut &[u8]) -> bool {
        if self.at == At::DataCr
            && let Some(rest) = input.strip_prefix(b"\r\n")
        {
            self.at = At::Size;
            *input = rest;
        } else if self.at == At::Size
            && let Some((size, rest)) = size_line(input)
        {
            self.left = size;
            self.at = if size == 0 { At::TrailerStart } else { At::Data };
            *input = rest;
        } else {
            return false;
        }
        true
    }

    /// Whether the last chunk was read, and what follows it.
    pub(super) fn is_end(&self) -> bool {
        self.at == At::End
    }

    fn step(&mut self, byte: u8) -> Result<At, ChunkedError> {
        Ok(match (self.at, byte) {
            (At::Size | At::MoreSize, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = u64::from(char::from(byte).to_digit(16).unwrap_or_default());
                self.left = self
                    .left
                    .checked_mul(16)
                    .and_then(|size| size.checked_add(digit))
                    .ok_or(ChunkedError::TooLarge)?;
                At::MoreSize
            }
            (At::MoreSize, b'\r') => At::SizeLf,
            (At::MoreSize, b';' | b' ' | b'\t') => self.ignore(At::Extension)?,
            (At::Extension, b'\r') => At::SizeLf,
            (At::Extension, byte) if byte != b'\n' => self.ignore(At::Extension)?,
            (At::SizeLf, b'\n') if self.left == 0 => At::TrailerStart,
            (At::SizeLf, b'\n') => At::Data,
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size,
            (At::TrailerStart, b'\r') => At::EndLf,
            (At::Trailer, b'\r') => At::TrailerLf,
            (At::TrailerStart | At::Trailer, byte) if byte != b'\n' => self.ignore(At::Trailer)?,
            (At::TrailerLf, b'\n') => At::TrailerStart,
            (At::EndLf, b'\n') => At::End,
            (_, byte) => return Err(ChunkedError::Unexpected(byte)),
        })
    }

    fn ignore(&mut self, next: At) -> Result<At, ChunkedError> {
        self.ignored += 1;
        if self.ignored > MAX_IGNORED_BYTES { Err(ChunkedError::TooMuchIgnored) } else { Ok(next) }
    }
}

/// The size that a line of nothing but up to eight digits says, and what follows the line.
#[inline]
fn size_line(input: &[u8]) -> Option<(u64, &[u8])> {
    let mut size = 0;
    for (len, byte) in input.iter().enumerate().take(9) {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b'\r' if len > 0 => return Some((size, input.get(len..)?.strip_prefix(b"\r\n")?)),
            _ => return None,
        };
        size = size << 4 | u64::from(digit);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The data, what is left behind the end, and whether there was one.
    fn decoded(pieces: &[&[u8]]) -> Result<(Vec<u8>, Vec<u8>, bool), ChunkedError> {
        let (mut decoder, mut data, mut behind) = (ChunkedDecoder::default(), Vec::new(), Vec::new());
        for piece in pieces {
            let mut input = *piece;
            while let Some(found) = decoder.next(&mut input)? {
                assert!(!found.is_empty());
                data.extend_from_slice(found);
            }
            behind.extend_from_slice(input);
        }
        Ok((data, behind, decoder.is_end()))
    }

    #[test]
    fn data_is_what_stands_in_the_chunks() {
        for (body, data, behind, is_end) in [
            ("5\r\nhello\r\n0\r\n\r\n", "hello", "", true),
            (
                "A;name=\"x\"\r\n0123456789\r\n1 \t\r\nz\r\n000\r\nX-Sum: 1\r\nY: 2\r\n\r\nHTTP",
                "0123456789z",
                "HTTP",
                true,
            ),
            ("0\r\n\r\n", "", "", true),
            ("3\r\nab", "ab", "", false),
            ("3\r\nabc\r\n0\r\n", "abc", "", false),
            ("", "", "", false),
        ] {
            let expected = (data.as_bytes().to_vec(), behind.as_bytes().to_vec(), is_end);
            assert_eq!(decoded(&[body.as_bytes()]).unwrap(), expected, "{body:?}");
        }
    }

    #[test]
    fn what_is_not_chunked_is_refused() {
        for (body, error) in [
            ("data: {}", ChunkedError::Unexpected(b't')),
            ("\r\n", ChunkedError::Unexpected(b'\r')),
            ("-1\r\n", ChunkedError::Unexpected(b'-')),
            ("5\nhello", ChunkedError::Unexpected(b'\n')),
            ("1\r\nab", ChunkedError::Unexpected(b'b')),
            ("1\r\na\n", ChunkedError::Unexpected(b'\n')),
            ("1;a\nb\r\n", ChunkedError::Unexpected(b'\n')),
            ("0\r\n\n", ChunkedError::Unexpected(b'\n')),
            ("0\r\na\n", ChunkedError::Unexpected(b'\n')),
            ("0\r\n\rx", ChunkedError::Unexpected(b'x')),
            ("10000000000000000\r\n", ChunkedError::TooLarge),
        ] {
            assert_eq!(decoded(&[body.as_bytes()]).unwrap_err(), error, "{body:?}");
        }
        assert_eq!(decoded(&[b"ffffffffffffffff\r\nx"]).unwrap(), (b"x".to_vec(), Vec::new(), false));
    }

    #[test]
    fn what_is_read_over_has_an_end() {
        let long = "x".repeat(MAX_IGNORED_BYTES);
        for body in [format!("1;{long}"), format!("0\r\n{long}y"), "1; \r\na\r\n".repeat(MAX_IGNORED_BYTES)] {
            assert_eq!(decoded(&[body.as_bytes()]).unwrap_err(), ChunkedError::TooMuchIgnored);
        }
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_data(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..6),
            extension in proptest::sample::select(vec!["", ";x=\"y\"", " "]),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..8),
        ) {
            let mut body = Vec::new();
            for chunk in &chunks {
                body.extend_from_slice(format!("{:X}{extension}\r\n", chunk.len()).as_bytes());
                body.extend_from_slice(chunk);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"0\r\nT: 1\r\n\r\nrest");
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len())).collect();
            cuts.extend([0, body.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &body[cut[0]..cut[1]]).collect();
            prop_assert_eq!(decoded(&pieces).unwrap(), (chunks.concat(), b"rest".to_vec(), true));
        }

        /// Chunked or not: byte by byte, every byte goes through [`ChunkedDecoder::step`].
        #[test]
        fn whole_lines_are_taken_as_their_bytes_are(
            tokens in proptest::collection::vec(
                proptest::sample::select(vec![
                    "1", "2", "a", "F", "0", "00000003", "000000003", "\r\n", "\r", "\n", ";", "x", "abc",
                    "1\r\nx\r\n", "2\r\nxy\r\n", "0\r\n", "ffffffff\r\n", "\r\n\r\n",
                ]),
                0..12,
            ),
        ) {
            let body = tokens.concat().into_bytes();
            let bytes: Vec<&[u8]> = body.chunks(1).collect();
            prop_assert_eq!(decoded(&[&body]), decoded(&bytes));
        }
    }
}
