//! [`Guard`]: which browsers may talk to this server, decided from the head of a request alone, as Ollama decides it
//! (CORS by `Origin`, then the DNS-rebinding check by `Host`).
//!
//! A page in a browser may send simple requests anywhere without asking first, so a disallowed `Origin` is refused on
//! every method and not only in a preflight. A page whose name was rebound to 127.0.0.1 is of the same origin as this
//! server in the eyes of the browser, so a server that only this machine can reach answers to names of this machine
//! only. Programs that are no browsers send no `Origin` and the address they were given, and pass.
//!
//! It asks no resolver and no interface list: "an address of this machine" is taken to be any loopback, private (RFC
//! 1918, RFC 4193), link-local or unspecified one. A rebound page has a name in its `Host`, never such an address.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY,
};
use hyper::{Method, Uri};
use std::net::{IpAddr, Ipv6Addr};

/// The hosts that Ollama always trusts pages of, over http and https and with any port.
const LOCAL_ORIGINS: &[&str] = &["localhost", "127.0.0.1", "0.0.0.0"];
/// The desktop shells that it trusts, whatever follows.
const APP_SCHEMES: &[&str] = &["app://", "file://", "tauri://", "vscode-webview://", "vscode-file://"];
/// Name endings that no public resolver serves.
const LOCAL_ENDINGS: &[&str] = &[".localhost", ".local", ".internal"];

const METHODS: HeaderValue = HeaderValue::from_static("GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS");
const HEADERS: HeaderValue = HeaderValue::from_static(
    "Authorization,Content-Type,User-Agent,Accept,X-Requested-With,OpenAI-Beta,x-stainless-arch,\
     x-stainless-async,x-stainless-custom-poll-interval,x-stainless-helper-method,x-stainless-lang,\
     x-stainless-os,x-stainless-package-version,x-stainless-poll-helper,x-stainless-retry-count,\
     x-stainless-runtime,x-stainless-runtime-version,x-stainless-timeout",
);
/// Twelve hours, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("43200");
const VARY_ORIGIN: HeaderValue = HeaderValue::from_static("Origin");
const VARY_PREFLIGHT: HeaderValue =
    HeaderValue::from_static("Origin,Access-Control-Request-Method,Access-Control-Request-Headers");
const ANY: HeaderValue = HeaderValue::from_static("*");

/// What to do with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Answer it, and put these headers on the answer.
    Allow {
        /// `None` for a request that is not from another origin.
        cors: Option<CorsHeaders>,
    },
    /// It is a browser's question before the request: 204, these headers, no body.
    Preflight(HeaderMap),
    /// 403 without a body.
    Forbidden,
}

/// The headers that let a page read an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CorsHeaders {
    allow_origin: HeaderValue,
}

impl CorsHeaders {
    /// The pairs themselves.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> + use<> {
        // An answer that every origin gets alike does not vary.
        let vary = (self.allow_origin != ANY).then_some((VARY, VARY_ORIGIN));
        [(ACCESS_CONTROL_ALLOW_ORIGIN, self.allow_origin.clone())].into_iter().chain(vary)
    }
}

/// One origin of the configuration: a whole one, or what stands before and after its `*`.
#[derive(Clone, Debug)]
struct Allowed {
    prefix: String,
    suffix: Option<String>,
}

/// The rules, built once. See the module's head.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    any_origin: bool,
    origins: Vec<Allowed>,
    check_host: bool,
    hostname: Option<String>,
}

impl Guard {
    /// Allows `origins` beside the local ones: `*` for all, else one `*` each at most. `hostname` is the machine's own
    /// name. The `Host` is checked only if the server `listens_on_loopback`: else its clients may know it by any name.
    pub(super) fn new(origins: &[String], listens_on_loopback: bool, hostname: Option<&str>) -> Self {
        let origins = origins.iter().map(|origin| match origin.trim().split_once('*') {
            Some((prefix, suffix)) => Allowed { prefix: prefix.into(), suffix: Some(suffix.into()) },
            None => Allowed { prefix: origin.trim().into(), suffix: None },
        });
        let origins: Vec<_> = origins.collect();
        let is_any = |it: &Allowed| it.prefix.is_empty() && it.suffix.as_deref() == Some("");
        Self {
            any_origin: origins.iter().any(is_any),
            origins,
            check_host: listens_on_loopback,
            hostname: hostname.map(str::to_owned),
        }
    }

    /// Judges a request by its head.
    pub(super) fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Verdict {
        let host = effective_host(uri, headers);
        let cors = match self.origin(&host, headers) {
            Origin::None => None,
            Origin::Refused => return Verdict::Forbidden,
            Origin::Allowed(cors) => Some(cors),
        };
        // Before the check of the host, as in Ollama: it says nothing but what is allowed.
        if let (Some(cors), &Method::OPTIONS) = (&cors, method) {
            return Verdict::Preflight(preflight(cors));
        }
        let is_ours = match host {
            Host::Absent => true,
            Host::Named(host) => self.is_own_host(host),
            Host::Unclear => false,
        };
        if self.check_host && !is_ours { Verdict::Forbidden } else { Verdict::Allow { cors } }
    }

    fn origin(&self, host: &Host<'_>, headers: &HeaderMap) -> Origin {
        let mut values = headers.get_all(ORIGIN).iter();
        let (value, text) = match (values.next(), values.next()) {
            (None, _) => return Origin::None,
            (Some(value), None) => match value.to_str() {
                Ok("") => return Origin::None,
                Ok(text) => (value, text),
                Err(_) => return Origin::Refused,
            },
            // No browser sends two.
            (Some(_), Some(_)) => return Origin::Refused,
        };
        let authority = strip_prefix(text, "http://").or_else(|| strip_prefix(text, "https://"));
        if let (Some(authority), Host::Named(host)) = (authority, host)
            && !host.is_empty()
            && authority.eq_ignore_ascii_case(host)
        {
            return Origin::None;
        }
        if self.any_origin {
            return Origin::Allowed(CorsHeaders { allow_origin: ANY });
        }
        let is_allowed = authority.is_some_and(is_local_authority)
            || APP_SCHEMES.iter().any(|scheme| strip_prefix(text, scheme).is_some())
            || self.origins.iter().any(|allowed| allowed.matches(text));
        if is_allowed {
            Origin::Allowed(CorsHeaders { allow_origin: value.clone() })
        } else {
            Origin::Refused
        }
    }

    fn is_own_host(&self, host: &str) -> bool {
        let Some(name) = without_port(host) else {
            return false;
        };
        if let Some(inside) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
            return inside.parse::<Ipv6Addr>().is_ok_and(|ip| is_own_address(ip.into()));
        }
        if let Ok(ip) = name.parse() {
            return is_own_address(ip);
        }
        // Looked at before the endings: `evil.example/.local` is no name, whatever a lenient reader makes of it.
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) {
            return false;
        }
        name.is_empty()
            || name.eq_ignore_ascii_case("localhost")
            || self.hostname.as_deref().is_some_and(|own| name.eq_ignore_ascii_case(own))
            || LOCAL_ENDINGS.iter().any(|ending| ends_with(name, ending))
    }
}

impl Allowed {
    /// Compared without regard to case, which schemes and host names do not have.
    fn matches(&self, origin: &str) -> bool {
        match (strip_prefix(origin, &self.prefix), &self.suffix) {
            // Prefix and suffix may not share a byte, so the suffix is looked for in the rest only.
            (Some(rest), Some(suffix)) => ends_with(rest, suffix),
            (Some(rest), None) => rest.is_empty(),
            (None, _) => false,
        }
    }
}

enum Origin {
    /// Not a request from another origin.
    None,
    Allowed(CorsHeaders),
    Refused,
}

/// Whom the request is addressed to.
enum Host<'a> {
    /// HTTP/1.0 has no need of it.
    Absent,
    Named(&'a str),
    /// Two that may differ, or bytes that no name has.
    Unclear,
}

/// The host of an absolute URI counts (RFC 9112, section 3.2.2), but a `Host` that says something else beside it is
/// nothing a client means.
fn effective_host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Host<'a> {
    let mut values = headers.get_all(HOST).iter();
    let header = match (values.next().map(HeaderValue::to_str), values.next()) {
        (None, _) => None,
        (Some(Ok(text)), None) => Some(text),
        _ => return Host::Unclear,
    };
    match (uri.authority().map(|authority| authority.as_str()), header) {
        (Some(target), Some(header)) if !target.eq_ignore_ascii_case(header) => Host::Unclear,
        (Some(host), _) | (None, Some(host)) => Host::Named(host),
        (None, None) => Host::Absent,
    }
}

fn preflight(cors: &CorsHeaders) -> HeaderMap {
    let mut headers: HeaderMap = cors.pairs().collect();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    if headers.contains_key(VARY) {
        headers.insert(VARY, VARY_PREFLIGHT);
    }
    headers
}

/// `localhost`, `127.0.0.1` or `0.0.0.0`, with a port or without.
fn is_local_authority(authority: &str) -> bool {
    LOCAL_ORIGINS.iter().any(|host| match strip_prefix(authority, host) {
        Some("") => true,
        Some(rest) => rest.strip_prefix(':').is_some_and(|port| !port.is_empty() && is_port(port)),
        None => false,
    })
}

/// `host` of `host:port`; `None` if what follows the host is no port.
fn without_port(host: &str) -> Option<&str> {
    // The colons inside brackets belong to the address.
    let from = host.find(']').unwrap_or_default();
    match host.get(from..)?.find(':') {
        Some(at) => {
            let (name, port) = host.split_at_checked(from + at)?;
            is_port(port.strip_prefix(':')?).then_some(name)
        }
        None => Some(host),
    }
}

/// RFC 3986 allows an empty port.
fn is_port(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && (text.is_empty() || text.parse::<u16>().is_ok())
}

fn is_own_address(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified(),
        IpAddr::V6(ip) => {
            ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_unspecified()
        }
    }
}

fn strip_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn ends_with(text: &str, ending: &str) -> bool {
    let at = text.len().checked_sub(ending.len());
    at.and_then(|at| text.get(at..)).is_some_and(|end| end.eq_ignore_ascii_case(ending))
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
