//! [`ForwardProxy`]: the proxy through which the backend is reached, as `HTTPS_PROXY` and its kin name it, and the
//! hosts that `NO_PROXY` keeps from it. The variables are those of curl; it differs where curl's ways surprise: a proxy
//! without a port is at port 80, a backend on this machine is never reached through one.

use super::Secret;
use hyper::Uri;
use std::fmt;
use std::net::IpAddr;

/// A proxy for outgoing connections.
// Invariant: http, a host, no user or password in `uri`.
#[derive(Clone, PartialEq, Eq)]
pub struct ForwardProxy {
    uri: Uri,
    basic: Option<Secret>,
}

impl ForwardProxy {
    /// `http://user:password@host:port`; the scheme, the user and the port may be missing.
    pub(super) fn new(text: &str) -> Option<Self> {
        let rest = match text.split_once("://") {
            Some((scheme, rest)) => rest.get(..).filter(|_| scheme.eq_ignore_ascii_case("http"))?,
            None => text,
        };
        let authority = rest.split('/').next().unwrap_or_default();
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        let uri: Uri = format!("http://{host}/").parse().ok()?;
        let has_host = uri.host().is_some_and(|host| !host.is_empty() && host != "[]");
        let port_is_good = uri.host() == Some(host) || uri.port_u16().is_some();
        let basic = match user {
            Some(user) => Some(Secret::new(&base64(&percent_decoded(user)?))?),
            None => None,
        };
        (has_host && port_is_good).then_some(Self { uri, basic })
    }

    /// Where it is.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// What opens it: the value of `Proxy-Authorization` behind the word `Basic`.
    pub fn basic(&self) -> Option<&Secret> {
        self.basic.as_ref()
    }
}

/// Without user and password.
impl fmt::Display for ForwardProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
        write!(f, "http://{authority}")
    }
}

impl fmt::Debug for ForwardProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ForwardProxy({self})")
    }
}

/// Whether a host is this machine by its name or address.
pub(super) fn is_loopback(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let address = address(&name).is_some_and(|address| address.to_canonical().is_loopback());
    address || name == "localhost" || name.ends_with(".localhost")
}

/// Whether a list such as `localhost,.example.com,10.0.0.0/8` names this host: by a name, which stands for all below it
/// too, an address, a network, or `*`; each but the last two also with a port.
pub(super) fn is_exempt(list: &str, host: &str, port: u16) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let entries = list.split([',', ' ', '\t']).map(str::trim).filter(|entry| !entry.is_empty());
    entries.map(str::to_ascii_lowercase).any(|entry| entry == "*" || names(&entry, &host, port))
}

fn names(entry: &str, host: &str, port: u16) -> bool {
    let ip = address(host);
    if let (Some(ip), Some((network, bits))) = (ip, entry.split_once('/')) {
        return is_within(ip, network, bits);
    }
    let (name, wanted) = match entry.rsplit_once(':') {
        // More colons are an address without brackets, and no port.
        Some((name, wanted)) if !name.contains(':') || name.ends_with(']') => match wanted.parse::<u16>() {
            Ok(wanted) => (name, Some(wanted)),
            Err(_) => return false,
        },
        _ => (entry, None),
    };
    let is_host = match ip {
        Some(ip) => address(name) == Some(ip),
        None => is_below(host, name),
    };
    is_host && wanted.is_none_or(|wanted| wanted == port)
}

/// Whether a host is this name or one below it; `.name` and `*.name` say the same.
fn is_below(host: &str, name: &str) -> bool {
    let name = name.strip_prefix('*').unwrap_or(name);
    let name = name.strip_prefix('.').unwrap_or(name);
    let name = name.strip_suffix('.').unwrap_or(name);
    let rest = host.strip_suffix(name).filter(|_| !name.is_empty());
    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// An address, in brackets or without.
fn address(text: &str) -> Option<IpAddr> {
    text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text).parse().ok()
}

fn is_within(ip: IpAddr, network: &str, bits: &str) -> bool {
    let (Some(network), Ok(bits)) = (address(network), bits.parse::<u32>()) else { return false };
    let shifted = |all: u32| all.checked_sub(bits);
    match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) => shifted(32)
            .is_some_and(|shift| (ip.to_bits() ^ network.to_bits()).checked_shr(shift).unwrap_or(0) == 0),
        (IpAddr::V6(ip), IpAddr::V6(network)) => shifted(128)
            .is_some_and(|shift| (ip.to_bits() ^ network.to_bits()).checked_shr(shift).unwrap_or(0) == 0),
        _ => false,
    }
}

/// RFC 3986, section 2.1. `None`: a `%` without two digits behind it.
fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let mut digit = || (bytes.next()? as char).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            byte => byte,
        });
    }
    Some(out)
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = DIGITS.get((bits >> (18 - 6 * place) & 63) as usize).copied();
            out.push(digit.filter(|_| place <= group.len()).map_or('=', char::from));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_a_proxy() {
        let table = [
            ("http://proxy.example:3128", "http://proxy.example:3128", None),
            ("HTTP://proxy.example:3128/", "http://proxy.example:3128", None),
            ("proxy.example:3128", "http://proxy.example:3128", None),
            ("http://proxy.example", "http://proxy.example", None),
            ("http://[::1]:3128", "http://[::1]:3128", None),
            ("http://u:p@proxy.example:3128", "http://proxy.example:3128", Some("dTpw")),
            ("http://u:p%40%C3%A9@h:1", "http://h:1", Some("dTpwQMOp")),
            ("http://user@h:1", "http://h:1", Some("dXNlcg==")),
            ("http://us@er:p@h:1", "http://h:1", Some("dXNAZXI6cA==")),
        ];
        for (text, shown, basic) in table {
            let proxy = ForwardProxy::new(text).unwrap();
            assert_eq!(proxy.to_string(), shown, "{text}");
            assert_eq!(proxy.basic().map(Secret::expose), basic, "{text}");
            assert_eq!(format!("{proxy:?}"), format!("ForwardProxy({shown})"));
        }
        for bad in [
            "",
            "https://h:1",
            "socks5://h:1",
            "http://",
            "http://:1",
            "http://h:x",
            "http://h:70000",
            "h:",
            "http://u:%4@h:1",
            "http://u:%zz@h:1",
            "a b:1",
        ] {
            assert!(ForwardProxy::new(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn whom_no_proxy_names() {
        let table = [
            ("*", "api.openai.com", true),
            ("", "api.openai.com", false),
            (" , ", "api.openai.com", false),
            ("openai.com", "api.openai.com", true),
            (".openai.com", "api.openai.com", true),
            ("*.openai.com", "api.openai.com", true),
            ("OpenAI.com.", "api.openai.com.", true),
            (".openai.com", "openai.com", true),
            ("penai.com", "openai.com", false),
            ("api.openai.com", "openai.com", false),
            ("a.example, openai.com", "openai.com", true),
            ("a.example openai.com", "openai.com", true),
            ("openai.com:443", "openai.com", true),
            ("openai.com:8080", "openai.com", false),
            ("openai.com:x", "openai.com", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1:443", "10.0.0.1", true),
            ("10.0.0.1:80", "10.0.0.1", false),
            ("0.0.1", "10.0.0.1", false),
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("0.0.0.0/0", "11.1.2.3", true),
            ("10.0.0.0/33", "10.0.0.0", false),
            ("10.0.0.0/x", "10.0.0.0", false),
            ("10.0.0.0/8", "ten.example", false),
            ("fd00::/8", "[fd12::1]", true),
            ("fd00::/8", "[fe80::1]", false),
            ("::/0", "[fe80::1]", true),
            ("fd12::1", "[fd12::1]", true),
            ("[fd12::1]", "[fd12::1]", true),
            ("[fd12::1]:443", "[fd12::1]", true),
        ];
        for (list, host, expected) in table {
            assert_eq!(is_exempt(list, host, 443), expected, "{list:?} {host}");
        }
    }

    #[test]
    fn this_machine_needs_no_proxy() {
        for host in [
            "localhost",
            "LOCALHOST.",
            "a.localhost",
            "127.0.0.1",
            "127.9.9.9",
            "[::1]",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.example", "128.0.0.1", "10.0.0.1", "[::2]", "0.0.0.0", ""] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
