//! `--name value` pairs of both programs. An unknown name, a missing value or a value of another kind is a fault that
//! names the flag; what follows `--` is a command line.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

/// The flags of one call.
#[derive(Debug)]
pub struct Args {
    values: BTreeMap<String, String>,
    /// What stood after `--`.
    pub command: Vec<String>,
}

impl Args {
    /// Reads the flags, all of which must be in `known`.
    pub fn parse(words: impl Iterator<Item = String>, known: &[&str]) -> Result<Self, String> {
        let mut args = Self { values: BTreeMap::new(), command: Vec::new() };
        let mut words = words;
        while let Some(word) = words.next() {
            if word == "--" {
                args.command = words.collect();
                break;
            }
            let name = word.strip_prefix("--").filter(|name| known.contains(name));
            let name = name.ok_or_else(|| format!("{word}: expected one of --{}", known.join(", --")))?;
            let value = words.next().ok_or_else(|| format!("--{name}: expected a value"))?;
            args.values.insert(name.to_owned(), value);
        }
        Ok(args)
    }

    /// The value of a flag, or `default`.
    pub fn or<T: FromStr>(&self, name: &str, default: T) -> Result<T, String> {
        self.maybe(name).map(|value| value.unwrap_or(default))
    }

    /// The value of a flag that must be given.
    pub fn need<T: FromStr>(&self, name: &str) -> Result<T, String> {
        self.maybe(name)?.ok_or_else(|| format!("--{name}: expected, but not given"))
    }

    /// The value of a flag, if given.
    pub fn maybe<T: FromStr>(&self, name: &str) -> Result<Option<T>, String> {
        let Some(value) = self.values.get(name) else { return Ok(None) };
        value.parse().map(Some).map_err(|_| format!("--{name}: {value:?} is not a value of its kind"))
    }

    /// The address to call; it must be on loopback, since nothing else may ever be loaded.
    pub fn address(&self) -> Result<SocketAddr, String> {
        let address: SocketAddr = self.need("address")?;
        if address.ip().is_loopback() {
            Ok(address)
        } else {
            Err(format!("--address: {address} is not on loopback"))
        }
    }
}

/// A port nobody listens on at this moment.
pub fn free_port() -> Result<u16, String> {
    let listener =
        std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|e| format!("free port: {e}"))?;
    listener.local_addr().map(|address| address.port()).map_err(|e| format!("free port: {e}"))
}
