//! The caller's side of TLS: for direct calls of a backend that speaks it, so that they stand beside those of a proxy.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Who is called: every address is one on loopback, and the certificate names the host.
const HOST: &str = "localhost";

/// Trusts the certificates in a file and no others.
pub fn trusting(path: &str) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    for cert in CertificateDer::pem_file_iter(path).map_err(|e| format!("--ca: {e}"))? {
        roots.add(cert.map_err(|e| format!("--ca: {e}"))?).map_err(|e| format!("--ca: {e}"))?;
    }
    Ok(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}

/// The name the certificate must have.
pub fn host() -> Result<ServerName<'static>, String> {
    ServerName::try_from(HOST).map_err(|e| e.to_string())
}

/// A blocking connection, with or without TLS.
pub trait Socket: Read + Write + Send {}
impl<T: Read + Write + Send> Socket for T {}

/// The connection in TLS if that is asked for. The handshake is part of the first write.
pub fn wrap(socket: TcpStream, tls: Option<&Arc<ClientConfig>>) -> Result<Box<dyn Socket>, String> {
    match tls {
        None => Ok(Box::new(socket)),
        Some(config) => {
            let session = ClientConnection::new(Arc::clone(config), host()?).map_err(|e| e.to_string())?;
            Ok(Box::new(StreamOwned::new(session, socket)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_a_fault() {
        assert!(trusting("/nowhere").is_err());
        assert!(host().is_ok());
    }
}
