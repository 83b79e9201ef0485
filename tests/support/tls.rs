//! The server's end of TLS, for a backend that is behind it. Certificate and key are in `tls/`: made for these tests, for
//! `backend.test`, `localhost` and 127.0.0.1, by a CA whose own key is thrown away.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::net::TcpStream;
use std::sync::Arc;

/// The CA's certificate, to be trusted.
pub(crate) const CA_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/tls/ca.pem");

pub(crate) type TlsStream = StreamOwned<ServerConnection, TcpStream>;

/// Takes the connection into TLS; the handshake is made with the first read or write.
pub(crate) fn accept(stream: TcpStream) -> TlsStream {
    let chain =
        CertificateDer::pem_slice_iter(include_bytes!("tls/server.pem")).collect::<Result<Vec<_>, _>>();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.unwrap(), key)
        .unwrap();
    StreamOwned::new(ServerConnection::new(Arc::new(config)).unwrap(), stream)
}
