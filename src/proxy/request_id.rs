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
                return RequestId { value: value.clone(), is_correlation: name == X_CORRELATION_ID };
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

    /// Does `work` on behalf of this request.
    pub(super) async fn scope<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }

    /// Names a request to the backend by the id that is at work here, if any, under the name by which it came: servers
    /// take `X-Request-ID` for one request's alone, and a correlation id may be that of many at once.
    pub(super) fn put_on_question(headers: &mut HeaderMap) {
        // Outside of every scope nobody's request is at work.
        let _none = CURRENT.try_with(|id| {
            let name = if id.is_correlation { X_CORRELATION_ID } else { X_REQUEST_ID };
            headers.insert(name, id.value.clone());
        });
    }
}

fn is_plain(text: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte);
    (1..=MAX_BYTES).contains(&text.len()) && text.iter().all(plain)
}

/// Unlike any other's: random for this process, counted within it, so that no request costs a system call.
fn new() -> HeaderValue {
    static PROCESS: OnceLock<u64> = OnceLock::new();
    static COUNT: AtomicU32 = AtomicU32::new(1);
    let process = PROCESS.get_or_init(|| {
        let mut bytes = [0; 8];
        // A system without random numbers could not speak TLS either; the ids are then only counted.
        let _filled = SystemRandom::new().fill(&mut bytes);
        u64::from_ne_bytes(bytes)
    });
    let text = format!("{process:016x}-{:08x}", COUNT.fetch_add(1, Ordering::Relaxed));
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("none"))
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
    fn new_ones_differ() {
        let mut ids: Vec<_> =
            (0..1000).map(|_| RequestId::of(&HeaderMap::new()).text().to_string()).collect();
        assert!(ids.iter().all(|id| id.len() == 25 && !id.starts_with("0000000000000000")), "{}", ids[0]);
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 1000);
    }

    #[test]
    fn outside_of_a_request_the_backend_is_told_none() {
        let mut headers = HeaderMap::new();
        RequestId::put_on_question(&mut headers);
        assert!(headers.is_empty());
    }
}
