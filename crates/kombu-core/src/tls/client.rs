//! From the options to rustls.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::verifier::{AnyCertificate, AnyHost};
use super::{TlsOptions, Verify};
use crate::error::{Error, ErrorKind, Result};

impl TlsOptions {
    /// Makes the configuration of a rustls client, with ring, whatever the process default is.
    ///
    /// It reads the files, and without `ca_certs` the system's store of authorities; make it once
    /// per connection, not per attempt.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if a file cannot be read or holds nothing of what is expected, naming the
    /// file; `Tls` if the system has no authorities, or if key and certificate do not fit.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>> {
        self.build().map_err(|error| error.during("set up TLS"))
    }

    /// The name that the server must have: `server_name`, or else the URL's host.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if it is neither a DNS name nor an address.
    pub fn server_name_for(&self, host: &str) -> Result<ServerName<'static>> {
        let name = self.server_name.as_deref().unwrap_or(host);
        ServerName::try_from(name.to_owned()).map_err(|error| {
            invalid(format!("{name:?} is not a DNS name or address that a certificate can have"))
                .caused_by(error)
        })
    }

    fn build(&self) -> Result<Arc<ClientConfig>> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| tls("no protocol version is left").caused_by(error))?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier(&provider)?);
        let config = match &self.certfile {
            None => builder.with_no_client_auth(),
            Some(certfile) => {
                let keyfile = self.keyfile.as_ref().unwrap_or(certfile);
                let chain = certificates(certfile)?;
                builder.with_client_auth_cert(chain, private_key(keyfile)?).map_err(|error| {
                    tls("the key does not fit the certificate, or is of an unknown kind")
                        .with("certfile", certfile.display())
                        .with("keyfile", keyfile.display())
                        .caused_by(error)
                })?
            }
        };
        Ok(Arc::new(config))
    }

    fn verifier(&self, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>> {
        let algorithms = provider.signature_verification_algorithms;
        match self.verify {
            Verify::None => {
                tracing::warn!(
                    "TLS certificates are not verified (ssl_cert_reqs=none): anyone on the way to \
                     the broker can read and change all messages and credentials"
                );
                Ok(Arc::new(AnyCertificate::new(algorithms)))
            }
            Verify::NoHostname => Ok(Arc::new(AnyHost::new(self.roots()?, algorithms))),
            Verify::Full => {
                let roots = Arc::new(self.roots()?);
                let verifier =
                    WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
                        .build()
                        .map_err(|error| tls("no authority can be trusted").caused_by(error))?;
                Ok(verifier)
            }
        }
    }

    fn roots(&self) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        let Some(path) = &self.ca_certs else {
            let system = rustls_native_certs::load_native_certs();
            let (added, _) = roots.add_parsable_certificates(system.certs);
            if added > 0 {
                return Ok(roots);
            }
            let error = tls(
                "the system has no store of authorities to trust; install one (ca-certificates) or \
                 name a file with ssl_ca_certs",
            );
            return Err(match system.errors.into_iter().next() {
                Some(cause) => error.caused_by(cause),
                None => error,
            });
        };
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|error| {
                invalid("the file holds a certificate that cannot be an authority's")
                    .with("file", path.display())
                    .caused_by(error)
            })?;
        }
        Ok(roots)
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let what = "a certificate (PEM, \"BEGIN CERTIFICATE\")";
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(path, what, error))?;
    if certificates.is_empty() {
        return Err(unreadable(path, what, PemError::NoItemsFound));
    }
    Ok(certificates)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    let what = "a private key without a passphrase (PEM, \"BEGIN PRIVATE KEY\", \"BEGIN RSA \
                PRIVATE KEY\" or \"BEGIN EC PRIVATE KEY\")";
    PrivateKeyDer::from_pem_file(path).map_err(|error| unreadable(path, what, error))
}

fn unreadable(path: &Path, expected: &str, error: PemError) -> Error {
    let error = match error {
        PemError::Io(error) => {
            invalid(format!("cannot read the file that should hold {expected}: {error}"))
                .caused_by(error)
        }
        PemError::NoItemsFound => invalid(format!("the file does not hold {expected}")),
        error => {
            invalid(format!("the file is damaged; it should hold {expected}")).caused_by(error)
        }
    };
    error.with("file", path.display())
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

fn tls(message: &'static str) -> Error {
    Error::new(ErrorKind::Tls, message)
}
