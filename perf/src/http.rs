//! Just enough HTTP/1.1 for loopback: find a head, read its fields, take the framing off a body as it arrives.
//!
//! It refuses what a measured answer never is: a body ended by the end of the connection, or a transfer coding other
//! than `chunked`. Not a general parser; RFC 9112 sections 6 and 7.1.

/// Bytes of the head including its empty line, if it is all there.
pub fn head_len(buf: &[u8]) -> Option<usize> {
    buf.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// The head as text.
pub fn head_text(head: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(head).map_err(|_| "http head is not ASCII".to_owned())
}

/// The value of a header field, by name in any case.
pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The status code of a response head.
pub fn status(head: &str) -> Result<u16, String> {
    let code = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    code.ok_or_else(|| format!("no status in {:?}", head.lines().next().unwrap_or_default()))
}

/// Where in a body the reader stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// `Content-Length`: this many bytes are still to come.
    Length(u64),
    /// Chunked: inside the size line, with the value so far.
    Size(u64),
    /// Chunked: after the size digits, until the line ends.
    SizeTail(u64),
    /// Chunked: this many bytes of the chunk are still to come.
    Data(u64),
    /// Chunked: inside the line end after a chunk's bytes.
    DataTail,
    /// Chunked: in the trailer; true at the start of a line.
    Trailer(bool),
    /// The body is complete.
    Done,
}

impl Body {
    /// The framing a head announces; no announcement means an empty body, as in a request.
    pub fn from_head(head: &str) -> Result<Self, String> {
        match (field(head, "transfer-encoding"), field(head, "content-length")) {
            (Some(coding), None) if coding.eq_ignore_ascii_case("chunked") => Ok(Self::Size(0)),
            (Some(coding), None) => Err(format!("transfer-encoding {coding:?}: expected chunked")),
            (Some(_), Some(_)) => Err("both transfer-encoding and content-length".to_owned()),
            (None, Some("0")) | (None, None) => Ok(Self::Done),
            (None, Some(length)) => length
                .parse()
                .map(Self::Length)
                .map_err(|_| format!("content-length {length:?}: expected a number")),
        }
    }

    /// True when nothing more belongs to this body.
    pub fn is_done(self) -> bool {
        self == Self::Done
    }

    /// Takes body bytes from `input`, hands their content to `sink`, and gives how many bytes belonged to the body.
    pub fn read(
        &mut self,
        input: &[u8],
        mut sink: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<usize, String> {
        let mut at = 0;
        while let Some(rest) = input.get(at..).filter(|rest| !rest.is_empty() && !self.is_done()) {
            let byte = rest.first().copied().unwrap_or_default();
            at += match *self {
                Self::Length(left) => {
                    let taken = take(rest, left, &mut sink)?;
                    *self = if left == taken as u64 { Self::Done } else { Self::Length(left - taken as u64) };
                    taken
                }
                Self::Data(left) => {
                    let taken = take(rest, left, &mut sink)?;
                    *self =
                        if left == taken as u64 { Self::DataTail } else { Self::Data(left - taken as u64) };
                    taken
                }
                Self::Size(value) => {
                    *self = match (char::from(byte).to_digit(16), byte) {
                        (Some(digit), _) if value < 1 << 40 => Self::Size(value << 4 | u64::from(digit)),
                        (None, b'\r' | b';' | b' ') => Self::SizeTail(value),
                        _ => return Err(format!("chunk size: byte {byte:#04x}")),
                    };
                    1
                }
                Self::SizeTail(value) => {
                    match (byte, value) {
                        (b'\n', 0) => *self = Self::Trailer(true),
                        (b'\n', _) => *self = Self::Data(value),
                        _ => {}
                    }
                    1
                }
                Self::DataTail => {
                    match byte {
                        b'\r' => {}
                        b'\n' => *self = Self::Size(0),
                        _ => return Err(format!("after a chunk: byte {byte:#04x}, expected a line end")),
                    }
                    1
                }
                Self::Trailer(line_is_empty) => {
                    match byte {
                        b'\r' => {}
                        b'\n' if line_is_empty => *self = Self::Done,
                        b'\n' => *self = Self::Trailer(true),
                        _ => *self = Self::Trailer(false),
                    }
                    1
                }
                Self::Done => 0,
            };
        }
        Ok(at)
    }
}

fn take(rest: &[u8], left: u64, sink: &mut impl FnMut(&[u8]) -> Result<(), String>) -> Result<usize, String> {
    let taken = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
    sink(rest.get(..taken).unwrap_or_default())?;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_cut(mut body: Body, wire: &[u8], cut: usize) -> (Vec<u8>, usize, Body) {
        let (mut out, mut used) = (Vec::new(), 0);
        for part in wire.chunks(cut) {
            let mut sink = |bytes: &[u8]| {
                out.extend_from_slice(bytes);
                Ok(())
            };
            used += body.read(part, &mut sink).unwrap();
        }
        (out, used, body)
    }

    #[test]
    fn chunked_body_cut_anywhere_gives_the_same_bytes() {
        let wire = b"5;x=y\r\nhello\r\n01\r\n \r\n5\r\nworld\r\n0\r\nA: b\r\n\r\nNEXT";
        for cut in 1..=wire.len() {
            let (out, used, body) = read_cut(Body::Size(0), wire, cut);
            assert_eq!(out, b"hello world", "cut {cut}");
            assert!(body.is_done());
            assert_eq!(used, wire.len() - 4);
        }
    }

    #[test]
    fn length_body_stops_at_its_end() {
        let (out, used, body) = read_cut(Body::Length(3), b"abcdef", 2);
        assert_eq!((out.as_slice(), used, body), (b"abc".as_slice(), 3, Body::Done));
    }

    #[test]
    fn a_wrong_size_line_is_a_fault() {
        assert!(Body::Size(0).read(b"xyz", |_| Ok(())).is_err());
    }

    #[test]
    fn fields_are_found_in_any_case() {
        let head = "HTTP/1.1 200 OK\r\nContent-LENGTH:  12\r\n\r\n";
        assert_eq!(field(head, "content-length"), Some("12"));
        assert_eq!(status(head), Ok(200));
        assert_eq!(Body::from_head(head), Ok(Body::Length(12)));
    }
}
