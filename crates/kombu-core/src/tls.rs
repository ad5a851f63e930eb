//! TLS options, the same for all transports.
//!
//! The options are plain data and always there; with the feature `tls`,
//! `TlsOptions::client_config` makes them a configuration of rustls.

#[cfg(feature = "tls")]
mod client;
#[cfg(feature = "tls")]
mod verifier;

use std::path::PathBuf;

use crate::error::{Error, ErrorKind, Result};
use crate::options::{OptionReader, Options, TlsChoice};
use crate::suggest;
use crate::value::Value;

/// How a TLS connection is made.
///
/// | option | sets |
/// |---|---|
/// | `ssl_ca_certs` | [`ca_certs`](Self::ca_certs) |
/// | `ssl_certfile`, `ssl_keyfile` | [`certfile`](Self::certfile), [`keyfile`](Self::keyfile) |
/// | `ssl_cert_reqs` | `required` (or `CERT_REQUIRED`, `optional`, `CERT_OPTIONAL`): verify; `none` (or `CERT_NONE`): do not |
/// | `ssl_check_hostname` | false: verify the certificate, but not the name in it |
/// | `ssl_server_hostname` | [`server_name`](Self::server_name) |
///
/// ```
/// use kombu_core::tls::{TlsOptions, Verify};
/// let tls = TlsOptions::new().ca_certs("/etc/ssl/broker-ca.pem").server_name("broker.internal");
/// assert_eq!(tls.verify, Verify::Full);
/// ```
///
/// # Kombu
///
/// The keys of the `ssl` argument with the prefix that a URL's query gives them. Kombu verifies
/// nothing on `rediss` unless asked, and no host names on `amqps`; here everything is verified
/// unless switched off. A client always gets the server's certificate, so that `optional` means
/// what `required` does, as it does in Python.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct TlsOptions {
    /// A PEM file with the certificates of the authorities to trust, instead of the system's.
    pub ca_certs: Option<PathBuf>,
    /// A PEM file with this side's certificate, followed by those of its issuers.
    pub certfile: Option<PathBuf>,
    /// A PEM file with the key of `certfile`, if the key is not in that file too.
    pub keyfile: Option<PathBuf>,
    /// How much of the server's certificate is verified.
    pub verify: Verify,
    /// The name that the server's certificate must have, instead of the URL's host. It is also
    /// the name that is asked for (SNI).
    pub server_name: Option<String>,
}

impl TlsOptions {
    /// The system's authorities, full verification, no certificate of this side.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts the authorities in this PEM file instead of the system's.
    #[must_use]
    pub fn ca_certs(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_certs = Some(path.into());
        self
    }

    /// Shows the server a certificate, from two PEM files.
    #[must_use]
    pub fn client_cert(
        mut self,
        certfile: impl Into<PathBuf>,
        keyfile: impl Into<PathBuf>,
    ) -> Self {
        self.certfile = Some(certfile.into());
        self.keyfile = Some(keyfile.into());
        self
    }

    /// Sets how much of the server's certificate is verified. Default: all of it.
    #[must_use]
    pub fn verify(mut self, verify: Verify) -> Self {
        self.verify = verify;
        self
    }

    /// Expects this name in the server's certificate instead of the URL's host.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }
}

/// How much of the server's certificate is verified.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: everything, all but the name, nothing")]
pub enum Verify {
    /// A trusted authority issued it, it is valid now, and it is for this host.
    #[default]
    Full,
    /// As `Full`, but it may be for any host.
    NoHostname,
    /// Nothing: anyone between this side and the server can read and change everything.
    None,
}

/// The names of the options about TLS.
pub(crate) const NAMES: &[&str] = &[
    "ssl",
    "ssl_ca_certs",
    "ssl_cert_reqs",
    "ssl_certfile",
    "ssl_check_hostname",
    "ssl_keyfile",
    "ssl_server_hostname",
];

/// Reads the options `ssl` and `ssl_…`, which must be all that `options` holds.
pub(crate) fn choice(mut options: Options) -> Result<TlsChoice> {
    if let Some(Value::Table(table)) = options.get("ssl").cloned() {
        options.insert("ssl", true);
        for (name, value) in table {
            let name = if name.starts_with("ssl_") { name } else { format!("ssl_{name}") };
            options.insert(name, value);
        }
    }
    if let Some((unknown, _)) = options.iter().find(|(name, _)| !NAMES.contains(name)) {
        let hint = suggest::did_you_mean(unknown, NAMES.iter().copied());
        return Err(wrong(format!(
            "unknown TLS option {unknown:?}{} known: {}",
            if hint.is_empty() { ";" } else { &hint },
            NAMES.join(", ")
        )));
    }
    let given = !options.is_empty();
    let mut reader = OptionReader::new("TLS", options);
    let on = reader.bool("ssl")?;
    let tls = TlsOptions {
        ca_certs: reader.path("ssl_ca_certs")?,
        certfile: reader.path("ssl_certfile")?,
        keyfile: reader.path("ssl_keyfile")?,
        verify: verify(&mut reader)?,
        server_name: reader.text("ssl_server_hostname")?,
    };
    reader.finish()?;
    if tls.keyfile.is_some() && tls.certfile.is_none() {
        return Err(wrong("option ssl_keyfile needs ssl_certfile, the certificate of that key"));
    }
    Ok(match on {
        Some(false) => TlsChoice::Off,
        Some(true) => TlsChoice::On(tls),
        None if given => TlsChoice::On(tls),
        None => TlsChoice::AsScheme,
    })
}

fn verify(reader: &mut OptionReader) -> Result<Verify> {
    let words = ["required", "none", "optional", "CERT_REQUIRED", "CERT_NONE", "CERT_OPTIONAL"];
    let requirement = reader.one_of("ssl_cert_reqs", &words)?;
    let check_hostname = reader.bool("ssl_check_hostname")?;
    match (requirement, check_hostname) {
        (Some("none" | "CERT_NONE"), Some(true)) => Err(wrong(
            "option ssl_check_hostname is true, but ssl_cert_reqs is none, which verifies nothing; \
             remove one of the two",
        )),
        (Some("none" | "CERT_NONE"), _) => Ok(Verify::None),
        (_, Some(false)) => Ok(Verify::NoHostname),
        _ => Ok(Verify::Full),
    }
}

fn wrong(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::url::BrokerUrl;

    fn from_query(query: &str) -> Result<TlsChoice> {
        choice(Options::from_query(&BrokerUrl::parse(&format!("amqps://h?{query}"))?))
    }

    #[test]
    fn query_and_setters_give_the_same() {
        let query = "ssl_ca_certs=/ca.pem&ssl_certfile=/c.pem&ssl_keyfile=/k.pem\
                     &ssl_check_hostname=False&ssl_server_hostname=broker";
        let set = TlsOptions::new()
            .ca_certs("/ca.pem")
            .client_cert("/c.pem", "/k.pem")
            .verify(Verify::NoHostname)
            .server_name("broker");
        assert_eq!(from_query(query).unwrap(), TlsChoice::On(set));
    }

    #[test]
    fn every_spelling_of_the_requirement_is_known() {
        for (query, expected) in [
            ("ssl_cert_reqs=CERT_REQUIRED", Verify::Full),
            ("ssl_cert_reqs=required", Verify::Full),
            ("ssl_cert_reqs=CERT_OPTIONAL", Verify::Full),
            ("ssl_cert_reqs=optional&ssl_check_hostname=true", Verify::Full),
            ("ssl_cert_reqs=required&ssl_check_hostname=false", Verify::NoHostname),
            ("ssl_cert_reqs=CERT_NONE", Verify::None),
            ("ssl_cert_reqs=none&ssl_check_hostname=false", Verify::None),
        ] {
            let expected = TlsChoice::On(TlsOptions::new().verify(expected));
            assert_eq!(from_query(query).unwrap(), expected, "{query}");
        }
    }

    #[test]
    fn wrong_options_are_refused_with_what_is_right() {
        for (query, says) in [
            ("ssl_cert_reqs=CERT_MAYBE", "write required, none, optional"),
            ("ssl_cert_reqs=none&ssl_check_hostname=1", "remove one of the two"),
            ("ssl_check_hostname=maybe", "write true or false"),
            ("ssl=maybe", "option ssl is \"maybe\"; write true or false"),
            ("ssl_keyfile=/k", "option ssl_keyfile needs ssl_certfile"),
            ("ssl_ca_certs=", "write a path"),
            ("ssl_ca_cert=/x", "did you mean \"ssl_ca_certs\"? known: ssl, ssl_ca_certs"),
            ("ssl_zzzzzzzzzz=/x", "unknown TLS option \"ssl_zzzzzzzzzz\"; known: ssl,"),
        ] {
            let error = from_query(query).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{query}");
            assert!(error.to_string().contains(says), "{query}: {error}");
        }
    }
}
