//! [`Resolver`]: host names to addresses, by the system's resolver.
//!
//! `localhost` is answered here (RFC 6761, section 6.3): an empty root filesystem has no `/etc/hosts`, and a static
//! binary's resolver then fails on it.

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use tower_service::Service;

/// See the module's description.
#[derive(Clone, Debug)]
pub(super) struct Resolver {
    system: GaiResolver,
}

impl Resolver {
    pub(super) fn new() -> Self {
        Resolver { system: GaiResolver::new() }
    }
}

/// The addresses of a name that means this machine by itself.
pub(super) fn loopback_addresses(name: &str) -> Option<[SocketAddr; 2]> {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let is_local = name == "localhost" || name.ends_with(".localhost");
    let address = |ip: IpAddr| SocketAddr::new(ip, 0);
    is_local.then(|| [address(Ipv4Addr::LOCALHOST.into()), address(Ipv6Addr::LOCALHOST.into())])
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.system.poll_ready(cx)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        if let Some(addresses) = loopback_addresses(name.as_str()) {
            return Box::pin(std::future::ready(Ok(Vec::from(addresses).into_iter())));
        }
        let found = self.system.call(name);
        Box::pin(async move { Ok(found.await?.collect::<Vec<_>>().into_iter()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_needs_no_file() {
        for name in ["localhost", "LOCALHOST.", "a.localhost"] {
            assert_eq!(loopback_addresses(name).unwrap()[0].to_string(), "127.0.0.1:0", "{name}");
        }
        for name in ["localhost.example", "notlocalhost", ""] {
            assert!(loopback_addresses(name).is_none(), "{name}");
        }
    }
}
