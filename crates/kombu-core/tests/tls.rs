//! TLS options in real handshakes, in memory, against a rustls server.
#![cfg(feature = "tls")]
#![expect(clippy::unwrap_used, reason = "helpers of tests; their fixtures are known")]

use std::path::PathBuf;
use std::sync::Arc;

use kombu_core::tls::{TlsOptions, Verify};
use kombu_core::{ConnectionOptions, ErrorKind, Options};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConnection, RootCertStore, ServerConfig, ServerConnection};

#[test]
fn a_server_of_a_trusted_authority_with_the_right_name_is_taken() {
    for ca in ["ca.pem", "both-cas.pem"] {
        let tls = TlsOptions::new().ca_certs(file(ca));
        assert_eq!(handshake(&tls, "broker.test", Clients::Anonymous), Ok(()), "{ca}");
    }
    let renamed = TlsOptions::new().ca_certs(file("ca.pem")).server_name("broker.test");
    assert_eq!(handshake(&renamed, "127.0.0.1", Clients::Anonymous), Ok(()));
}

#[test]
fn a_wrong_name_is_refused_unless_names_are_not_checked() {
    let tls = TlsOptions::new().ca_certs(file("ca.pem"));
    for host in ["other.test", "127.0.0.1", "::1"] {
        let error = handshake(&tls, host, Clients::Anonymous).unwrap_err();
        assert!(error.contains("not valid for name"), "{host}: {error}");
        let any_host = tls.clone().verify(Verify::NoHostname);
        assert_eq!(handshake(&any_host, host, Clients::Anonymous), Ok(()), "{host}");
    }
}

#[test]
fn an_unknown_authority_is_refused_unless_nothing_is_verified() {
    for verify in [Verify::Full, Verify::NoHostname] {
        let tls = TlsOptions::new().ca_certs(file("other-ca.pem")).verify(verify);
        let error = handshake(&tls, "broker.test", Clients::Anonymous).unwrap_err();
        assert!(error.contains("UnknownIssuer"), "{verify:?}: {error}");
    }
    let tls = TlsOptions::new().verify(Verify::None);
    assert_eq!(handshake(&tls, "whatever.test", Clients::Anonymous), Ok(()));
}

#[test]
fn a_server_without_the_key_of_its_certificate_is_refused_even_when_nothing_is_verified() {
    // The server shows `client.pem`'s certificate but signs with its own key.
    let signer = ring::sign::any_supported_type(&key("server-key.pem")).unwrap();
    let certified = rustls::sign::CertifiedKey::new(chain("client.pem"), signer);
    let resolver = rustls::sign::SingleCertAndKey::from(certified);
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    for verify in [Verify::None, Verify::NoHostname] {
        let tls = TlsOptions::new().ca_certs(file("ca.pem")).verify(verify);
        let error = shake(&tls, "client.test", config.clone()).unwrap_err();
        assert!(error.contains("BadSignature"), "{verify:?}: {error}");
    }
}

#[test]
fn a_client_certificate_is_shown_from_every_kind_of_key_file() {
    let tls = TlsOptions::new().ca_certs(file("ca.pem"));
    let error = handshake(&tls, "broker.test", Clients::Certified).unwrap_err();
    assert!(error.contains("no certificates"), "{error}");
    for (certificate, key) in [
        ("client.pem", "client-key.pem"),
        ("client.pem", "client-key-sec1.pem"),
        ("client-rsa.pem", "client-rsa-key-pkcs1.pem"),
    ] {
        let tls = tls.clone().client_cert(file(certificate), file(key));
        assert_eq!(handshake(&tls, "broker.test", Clients::Certified), Ok(()), "{key}");
    }
    // As in Python, the key may be in the certificate's file; here named as options are.
    let mut options = Options::new()
        .with("ssl_ca_certs", file("ca.pem").to_str().unwrap())
        .with("ssl_certfile", file("client-with-key.pem").to_str().unwrap());
    let options = ConnectionOptions::take(&mut options).unwrap();
    let url = kombu_core::BrokerUrl::parse("amqp://broker.test").unwrap();
    let tls = options.tls_for(&url, &["amqps"]).unwrap().unwrap();
    assert_eq!(handshake(&tls, "broker.test", Clients::Certified), Ok(()));
}

#[test]
fn bad_files_are_named_with_what_was_expected() {
    let client = |certificate: &str, key: &str| {
        TlsOptions::new().ca_certs(file("ca.pem")).client_cert(file(certificate), file(key))
    };
    for (tls, kind, says) in [
        (
            TlsOptions::new().ca_certs(file("missing.pem")),
            ErrorKind::InvalidArgument,
            ["missing.pem", "cannot read the file that should hold a certificate"],
        ),
        (
            TlsOptions::new().ca_certs(file("client-key.pem")),
            ErrorKind::InvalidArgument,
            ["client-key.pem", "does not hold a certificate (PEM, \"BEGIN CERTIFICATE\")"],
        ),
        (
            TlsOptions::new().ca_certs(file("damaged.pem")),
            ErrorKind::InvalidArgument,
            ["damaged.pem", "the file is damaged; it should hold a certificate"],
        ),
        (
            TlsOptions::new().ca_certs(file("not-a-certificate.pem")),
            ErrorKind::InvalidArgument,
            ["not-a-certificate.pem", "a certificate that cannot be an authority's"],
        ),
        (
            client("client.pem", "client-key-encrypted.pem"),
            ErrorKind::InvalidArgument,
            ["client-key-encrypted.pem", "a private key without a passphrase"],
        ),
        (
            client("client.pem", "ca.pem"),
            ErrorKind::InvalidArgument,
            ["ca.pem", "does not hold a private key"],
        ),
        (
            client("client.pem", "server-key.pem"),
            ErrorKind::Tls,
            ["server-key.pem", "the key does not fit the certificate"],
        ),
    ] {
        let error = tls.client_config().unwrap_err();
        let shown = error.to_string();
        assert_eq!(error.kind(), kind, "{shown}");
        assert!(shown.starts_with("cannot set up TLS: "), "{shown}");
        assert!(says.iter().all(|part| shown.contains(part)), "{shown} does not say {says:?}");
    }
    let error = TlsOptions::new().server_name_for("not a name").unwrap_err();
    assert!(error.to_string().contains("not a DNS name"), "{error}");
}

/// Whether the server asks for certificates of its clients.
#[derive(Clone, Copy)]
enum Clients {
    Anonymous,
    Certified,
}

fn handshake(tls: &TlsOptions, host: &str, clients: Clients) -> Result<(), String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        Clients::Anonymous => builder.with_no_client_auth(),
        Clients::Certified => {
            let mut roots = RootCertStore::empty();
            roots.add(chain("ca.pem").remove(0)).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    shake(tls, host, builder.with_single_cert(chain("server.pem"), key("server-key.pem")).unwrap())
}

/// Carries the bytes of both sides to the other until both have shaken hands, or one refuses.
fn shake(tls: &TlsOptions, host: &str, server: ServerConfig) -> Result<(), String> {
    let name = tls.server_name_for(host).unwrap();
    let mut client = ClientConnection::new(tls.client_config().unwrap(), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    // A handshake takes a few flights; many more mean that neither side goes on.
    for _ in 0..20 {
        let busy = client.is_handshaking() || server.is_handshaking();
        if !busy && !client.wants_write() && !server.wants_write() {
            return Ok(());
        }
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut bytes = wire.as_slice();
        while !bytes.is_empty() {
            server.read_tls(&mut bytes).unwrap();
            server.process_new_packets().map_err(|error| format!("server: {error}"))?;
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut bytes = wire.as_slice();
        while !bytes.is_empty() {
            client.read_tls(&mut bytes).unwrap();
            client.process_new_packets().map_err(|error| format!("client: {error}"))?;
        }
    }
    Err("the handshake does not end".to_owned())
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tls")).join(name)
}

fn chain(name: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(file(name)).unwrap().map(Result::unwrap).collect()
}

fn key(name: &str) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_file(file(name)).unwrap()
}
