//! [`BaseUrl`] and [`Secret`]: where the backend is, and what opens it. Both are checked once, at the start, so that
//! building a request cannot fail on them; neither shows what must stay hidden when it is printed.

use super::values;
use hyper::Uri;
use std::fmt;
use std::net::SocketAddr;

/// A key that cannot be printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The key without the blanks around it, if it can stand in a header.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        values::is_key(text).then(|| Self(text.to_owned()))
    }

    /// The key itself: visible ASCII, so it is a valid header value.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<hidden>")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<hidden>")
    }
}

/// The URL under which the backend's endpoints are.
// Invariant: http or https, a host, no user or password, a path that does not end in a slash.
#[derive(Clone, PartialEq, Eq)]
pub struct BaseUrl {
    uri: Uri,
}

impl BaseUrl {
    pub(super) fn new(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let authority = uri.authority()?.as_str();
        let host = uri.host().filter(|host| !host.is_empty())?;
        let port_is_good = authority == host || uri.port_u16().is_some();
        let scheme = uri.scheme_str().filter(|s| ["http", "https"].contains(s))?;
        if !port_is_good || authority.contains('@') || text.contains('#') {
            return None;
        }
        let path = match uri.path().trim_end_matches('/') {
            // There the deployments have paths of their own, and the API that takes models by name is below this one.
            "" if host.to_ascii_lowercase().ends_with(".azure.com") => "/openai/v1",
            "" => "/v1",
            path => path,
        };
        let query = uri.query().filter(|query| !query.is_empty());
        let uri = Uri::builder()
            .scheme(scheme)
            .authority(authority)
            .path_and_query(joined(path, "", query, None))
            .build()
            .ok()?;
        Some(Self { uri })
    }

    /// `http://ADDRESS/v1`, for a backend of this process.
    pub(super) fn loopback(address: SocketAddr) -> Self {
        // An address is an authority: the text always parses.
        Self { uri: format!("http://{address}/v1").parse().unwrap_or_default() }
    }

    /// The host, without the port.
    pub fn host(&self) -> &str {
        self.uri.host().unwrap_or_default()
    }

    /// Scheme, host and port: what to show a person. Neither path nor query, where some backends want their key.
    pub fn origin(&self) -> String {
        let authority = self.uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
        format!("{}://{authority}", self.uri.scheme_str().unwrap_or("http"))
    }

    /// Whether the backend is reached by TLS.
    pub fn is_tls(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }

    /// The URL itself.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The endpoint `path` beside the API: under what stands before the last `/v1`.
    pub fn join_beside(&self, path: &str) -> Uri {
        let mut parts = self.uri.clone().into_parts();
        let path_of_api = self.uri.path();
        let root = path_of_api.strip_suffix("/v1").unwrap_or(path_of_api);
        match joined(root, path, self.uri.query(), None).parse() {
            Ok(path_and_query) => parts.path_and_query = Some(path_and_query),
            Err(_) => return self.uri.clone(),
        }
        Uri::from_parts(parts).unwrap_or_else(|_| self.uri.clone())
    }

    /// The endpoint `path` under this base, e.g. `/chat/completions`. The base's query is kept, for backends that carry
    /// a version in it, and stands before the path's own.
    ///
    /// What cannot be a path gives the base itself, which no backend answers with success: the origin that was
    /// configured is never left.
    pub fn join(&self, path: &str) -> Uri {
        // A fragment would swallow the base's query; no request target has one.
        let path = path.split('#').next().unwrap_or_default();
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path, None),
        };
        let mut parts = self.uri.clone().into_parts();
        match joined(self.uri.path(), path, self.uri.query(), query).parse() {
            Ok(path_and_query) => parts.path_and_query = Some(path_and_query),
            Err(_) => return self.uri.clone(),
        }
        Uri::from_parts(parts).unwrap_or_else(|_| self.uri.clone())
    }
}

fn joined(base: &str, path: &str, base_query: Option<&str>, query: Option<&str>) -> String {
    let mut text = base.to_owned();
    if !path.is_empty() && !path.starts_with('/') {
        text.push('/');
    }
    text.push_str(path);
    for (query, mark) in [base_query, query].into_iter().flatten().zip(['?', '&']) {
        text.push(mark);
        text.push_str(query);
    }
    text
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BaseUrl({self})")
    }
}

/// Without the values of the query, where some backends want their key.
impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.uri.to_string()))
    }
}

/// A URL, right or wrong, without what may be a password or a key in it.
pub(super) fn shown(text: &str) -> String {
    let (text, query) = match text.split_once('?') {
        Some((text, _)) => (text, "?..."),
        None => (text, ""),
    };
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://...@{host}{query}"),
        (None, Some((_, host))) => format!("...@{host}{query}"),
        (_, None) => format!("{text}{query}"),
    }
}
