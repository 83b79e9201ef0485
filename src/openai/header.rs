//! The request headers that mean something to a backend: what its API calls for, beside a body and a key.
//!
//! Names are compared in lower case, as HTTP libraries hand them out.

/// `http-referer` and `x-title` are how a router tells the apps apart that use it.
const NAMES: &[&str] = &[
    "accept",
    "content-encoding",
    "content-type",
    "http-referer",
    "idempotency-key",
    "x-client-request-id",
    "x-title",
];
/// And all that begin so: versions, betas, organizations, and what the official libraries say of themselves.
const FAMILIES: &[&str] = &["anthropic-", "openai-", "x-stainless-"];
/// Keys in the place of `Authorization`.
const KEYS: &[&str] = &["api-key", "x-api-key", "x-goog-api-key"];

/// Whether a header is for the backend.
#[must_use]
pub fn is_request_header(name: &str) -> bool {
    NAMES.contains(&name) || FAMILIES.iter().any(|family| name.starts_with(family))
}

/// Whether a header is a key, in the place of `Authorization`.
#[must_use]
pub fn is_key_header(name: &str) -> bool {
    KEYS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_the_backend_and_what_is_not() {
        for name in ["accept", "content-type", "openai-beta", "anthropic-version", "x-stainless-lang"] {
            assert!(is_request_header(name) && !is_key_header(name), "{name}");
        }
        for name in ["authorization", "cookie", "host", "openai", "x-openai-beta", "x-api-key", ""] {
            assert!(!is_request_header(name), "{name}");
        }
        assert!(is_key_header("x-api-key") && !is_key_header("authorization"));
    }
}
