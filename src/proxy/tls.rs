//! TLS towards the backend: rustls with ring, Mozilla's roots compiled in, and the user's own beside them.
//!
//! A scratch image has no certificate store, so nothing of the system is read.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, KeyProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::SigningKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::sync::Arc;

/// The client's configuration. `ca_pem` is the text of the user's CA file.
///
/// # Errors
/// When the file holds no certificate, or one that cannot be read.
pub(super) fn client_config(verify: bool, ca_pem: Option<&[u8]>) -> Result<ClientConfig, String> {
    let provider =
        Arc::new(CryptoProvider { key_provider: &NoKeys, ..rustls::crypto::ring::default_provider() });
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    if !verify {
        return Ok(builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
            .with_no_client_auth());
    }
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(pem) = ca_pem {
        let mut count = 0;
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| format!("cannot read a certificate: {error}"))?;
            roots.add(certificate).map_err(|error| format!("cannot use a certificate: {error}"))?;
            count += 1;
        }
        if count == 0 {
            return Err("no certificate in it; expected PEM text".to_string());
        }
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// No certificate of a client's is ever shown, and so no key needed: signing stays out of the binary.
#[derive(Debug)]
struct NoKeys;

impl KeyProvider for NoKeys {
    fn load_private_key(&self, _: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, rustls::Error> {
        Err(rustls::Error::General("client certificates are not supported".to_string()))
    }
}

/// DISABLE_SSL_VERIFICATION: any certificate will do. Signatures are still checked, so that the handshake is one.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_of_a_clients_is_taken() {
        let key = PrivateKeyDer::Pkcs8(vec![0x30, 0].into());
        let refused = client_config(true, None).unwrap().crypto_provider().key_provider.load_private_key(key);
        assert!(refused.unwrap_err().to_string().contains("not supported"));
    }

    #[test]
    fn a_ca_file_without_a_certificate_is_refused() {
        assert!(client_config(true, None).is_ok());
        assert!(client_config(false, None).is_ok());
        for pem in ["", "hello", "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n"] {
            assert!(client_config(true, Some(pem.as_bytes())).is_err(), "{pem:?}");
        }
    }
}
