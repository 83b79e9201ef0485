//! [`Admission`]: the key that clients must show, where one is set (PROXY_API_KEY).
//!
//! Whoever watches over the proxy needs no key: its root, `/live`, `/health` and `/ready` say nothing of the backend or
//! its users, and the question of a browser before a request (answered by `guard.rs`) cannot carry one. Everything else
//! is closed, unknown paths too. A key that opened this door is taken off the request, for it opens no other.

use crate::config::Secret;
use crate::ollama::{Route, Routed};
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use ring::digest::{Digest, SHA256, digest};

/// What clients of `/v1/messages` send in the place of `Authorization`.
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// What a 401 says of the way in (RFC 6750, section 3).
pub(super) const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"ollama-openai-proxy\"");

/// See the module's description.
#[derive(Debug)]
pub(super) struct Admission {
    /// Of the key: what is compared has one length, whatever is sent.
    wanted: Option<Digest>,
}

impl Admission {
    pub(super) fn new(key: Option<&Secret>) -> Self {
        Admission { wanted: key.map(|key| digest(&SHA256, key.expose().as_bytes())) }
    }

    /// Whether a request may be answered. The headers are rid of the key.
    pub(super) fn admits(&self, routed: Routed, headers: &mut HeaderMap) -> bool {
        let Some(wanted) = &self.wanted else { return true };
        let bearer = headers.get(AUTHORIZATION).and_then(bearer).is_some_and(|key| is(wanted, key));
        if bearer {
            headers.remove(AUTHORIZATION);
        }
        let is_openai = routed == Routed::To(Route::OpenAi);
        let named = is_openai && headers.get(X_API_KEY).is_some_and(|key| is(wanted, key.as_bytes()));
        if named {
            headers.remove(X_API_KEY);
        }
        bearer || named || is_open(routed)
    }
}

fn is_open(routed: Routed) -> bool {
    matches!(routed, Routed::To(Route::Root | Route::Live | Route::Health | Route::Ready))
}

/// The key behind the scheme, whose case is free (RFC 9110, section 11.1).
fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, key) = value.as_bytes().split_at_checked(BEARER.len())?;
    scheme.eq_ignore_ascii_case(BEARER).then(|| key.trim_ascii())
}

const BEARER: &[u8] = b"Bearer ";

/// In a time that does not depend on what is the same: every byte of both digests is looked at.
fn is(wanted: &Digest, key: &[u8]) -> bool {
    let shown = digest(&SHA256, key);
    let pairs = wanted.as_ref().iter().zip(shown.as_ref());
    let differing = pairs.fold(0, |differing, (a, b)| std::hint::black_box(differing | (a ^ b)));
    differing == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_opens_the_door_and_stays_there() {
        const KEY: &str = "pk-0123";
        let admission = Admission::new(Some(&Secret::new(KEY).unwrap()));
        let chat = Routed::To(Route::Chat);
        let openai = Routed::To(Route::OpenAi);
        let table = [
            (chat, "authorization", "Bearer pk-0123", true),
            (chat, "authorization", "bearer   pk-0123 ", true),
            (chat, "authorization", "Bearer pk-012", false),
            (chat, "authorization", "Bearer pk-01234", false),
            (chat, "authorization", "Bearer ", false),
            (chat, "authorization", "Bearer", false),
            (chat, "authorization", "pk-0123", false),
            (chat, "authorization", "Basic pk-0123", false),
            (chat, "x-api-key", "pk-0123", false),
            (openai, "x-api-key", "pk-0123", true),
            (openai, "x-api-key", "pk-012", false),
            (openai, "authorization", "Bearer pk-0123", true),
            (Routed::NotFound, "authorization", "Bearer x", false),
            (Routed::To(Route::Metrics), "authorization", "Bearer x", false),
        ];
        for (routed, name, value, expected) in table {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
            assert_eq!(admission.admits(routed, &mut headers), expected, "{routed:?} {name}: {value}");
            assert_eq!(headers.is_empty(), expected, "what opens is taken, what does not is left");
        }
        let open = [Route::Root, Route::Live, Route::Health, Route::Ready];
        for route in open {
            assert!(admission.admits(Routed::To(route), &mut HeaderMap::new()));
        }
    }

    #[test]
    fn without_a_key_everything_is_open_and_nothing_is_taken() {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer x"));
        assert!(Admission::new(None).admits(Routed::NotFound, &mut headers));
        assert_eq!(headers.len(), 1);
    }
}
