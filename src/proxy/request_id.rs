//! [`RequestId`]: by which one request is found again, at the client, in the log and at the backend.
//!
//! A client's own (`X-Request-ID`, else `X-Correlation-ID`) is kept if it is a plain word: anything else could be meant
//! for whoever reads logs. It goes to the backend as a task-local value, so that no function between the two has to
//! hand it on, and none can forget to: who asks the backend inside [`RequestId::scope`] asks under this id.

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use ring::rand::{SecureRandom, SystemRandom};
use std::future::Future;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(super) const X_CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
/// The longest that is kept: several ids joined, or a trace context, are shorter.
const MAX_BYTES: usize = 128;

tokio::task_local! {
    static CURRENT: RequestId;
}

/// The value in memory of its own. As it comes it is a slice of the connection's read buffer, and who keeps it keeps that:
/// the connection then takes another one.
pub(super) fn unshared(value: &HeaderValue) -> HeaderValue {
    let copy = HeaderValue::from_bytes(value.as_bytes());
    // What was a value is one again.
    copy.map_or_else(
        |_| value.clone(),
        |mut copy| {
            copy.set_sensitive(value.is_sensitive());
            copy
        },
    )
}

/// See the module's description.
#[derive(Clone, Debug)]
pub(super) struct RequestId {
    value: HeaderValue,
    /// Whether the client brought it as its correlation id.
    is_correlation: bool,
}

impl RequestId {
    /// The client's, else a new one.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        for name in [X_REQUEST_ID, X_CORRELATION_ID] {
            if let Some(value) = headers.get(&name).filter(|value| is_plain(value.as_bytes())) {
                return RequestId { value: unshared(value), is_correlation: name == X_CORRELATION_ID };
            }
        }
        RequestId { value: new(), is_correlation: false }
    }

    /// The id itself.
    pub(super) fn text(&self) -> &str {
        self.value.to_str().unwrap_or_default()
    }

    /// Names the answer to the client, by both names; an id of the backend's that is passed on stays.
    pub(super) fn put_on_answer(&self, headers: &mut HeaderMap) {
        headers.entry(X_REQUEST_ID).or_insert_with(|| self.value.clone());
        headers.insert(X_CORRELATION_ID, self.value.clone());
    }

    /// Does `work` on behalf of this request. Not an `async fn`, which would hold it twice.
    pub(super) fn scope<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, work)
    }

    /// Names a request to the backend by the id that is at work here, if any, under the name by which it came: servers
    /// take `X-Request-ID` for one request's alone, and a correlation id may be that of many at once. Some servers, that of
    /// llama-cpp-python among them, refuse a request whose `X-Request-ID` is no UUID: another id goes as a correlation id.
    pub(super) fn put_on_question(put: impl FnOnce(&HeaderName, &HeaderValue)) {
        // Outside of every scope nobody's request is at work.
        let _none = CURRENT.try_with(|id| {
            let is_request = !id.is_correlation && is_uuid(id.value.as_bytes());
            let name = if is_request { X_REQUEST_ID } else { X_CORRELATION_ID };
            put(&name, &id.value);
        });
    }
}

fn is_plain(text: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte);
    (1..=MAX_BYTES).contains(&text.len()) && text.iter().all(plain)
}

/// Thirty-two hexadecimal digits in groups of 8, 4, 4, 4 and 12 (RFC 9562, section 4).
fn is_uuid(text: &[u8]) -> bool {
    let is_right = |(at, byte): (usize, &u8)| match at {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    text.len() == 36 && text.iter().enumerate().all(is_right)
}

/// A UUID of version 8 (RFC 9562, section 5.8): random for this process, counted within it, so that no request costs a
/// system call.
fn new() -> HeaderValue {
    static PROCESS: OnceLock<u64> = OnceLock::new();
    static COUNT: AtomicU32 = AtomicU32::new(1);
    let process = *PROCESS.get_or_init(|| {
        let mut bytes = [0; 8];
        // A system without random numbers could not speak TLS either; the ids are then only counted.
        let _filled = SystemRandom::new().fill(&mut bytes);
        u64::from_ne_bytes(bytes)
    });
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut text = *b"00000000-0000-8000-8000-000000000000";
    let (high, middle, low) = (process >> 32, process >> 16, process);
    for (place, mut value) in [(0..8, high), (9..13, middle), (15..18, low), (24..36, count.into())] {
        for digit in text.get_mut(place).into_iter().flatten().rev() {
            *digit = b"0123456789abcdef".get(value as usize & 15).copied().unwrap_or(b'0');
            value >>= 4;
        }
    }
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &'static str, value: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        RequestId::of(&headers).text().to_string()
    }

    #[test]
    fn a_plain_word_is_kept_and_anything_else_is_replaced() {
        let longest = "x".repeat(MAX_BYTES);
        for good in
            ["a", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "A_b.c:d/e+f=g@h", &longest]
        {
            assert_eq!(of("x-request-id", good), good);
            assert_eq!(of("x-correlation-id", good), good);
        }
        for bad in ["", " ", "a b", "a\tb", "a\"b", "a;b", "{\"a\":1}", "a,b", &format!("{longest}x")] {
            let new = of("x-request-id", bad);
            assert!(new != bad && is_plain(new.as_bytes()), "{bad:?}: {new}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, HeaderValue::from_bytes("é".as_bytes()).unwrap());
        headers.insert(X_CORRELATION_ID, HeaderValue::from_static("other"));
        assert_eq!(RequestId::of(&headers).text(), "other", "the second is asked when the first is none");
    }

    #[test]
    fn a_uuid_is_told_from_other_words() {
        assert!(is_uuid(b"4bf92f35-77b3-4da6-A3CE-929d0e0e4736"));
        for other in ["", "4bf92f3577b34da6a3ce929d0e0e4736", "4bf92f35-77b3-4da6-a3ce-929d0e0e473g", "mine"]
        {
            assert!(!is_uuid(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn a_kept_value_does_not_keep_what_it_was_read_into() {
        let mut value = HeaderValue::from_maybe_shared(bytes::Bytes::from(vec![b'a'; 8])).unwrap();
        value.set_sensitive(true);
        assert_eq!(value.clone().as_bytes().as_ptr(), value.as_bytes().as_ptr(), "a clone is a slice");
        let copy = unshared(&value);
        assert_eq!((&copy, copy.is_sensitive()), (&value, true));
        assert_ne!(copy.as_bytes().as_ptr(), value.as_bytes().as_ptr());
    }

    #[test]
    fn new_ones_differ() {
        let mut ids: Vec<_> =
            (0..1000).map(|_| RequestId::of(&HeaderMap::new()).text().to_string()).collect();
        assert!(ids.iter().all(|id| is_uuid(id.as_bytes()) && !id.starts_with("00000000-")), "{}", ids[0]);
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 1000);
    }

    #[test]
    fn outside_of_a_request_the_backend_is_told_none() {
        RequestId::put_on_question(|name, value| panic!("{name}: {value:?}"));
    }
}
