//! One URL and its parts.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use percent_encoding::{AsciiSet, utf8_percent_encode};

use super::mask::{ADDRESS, PATH, QUERY, USER_INFO, is_secret_option, is_url_with_credentials};
use super::parse;
use super::secret::{MASK, Secret};
use crate::error::{Error, Result};

/// The URL of one broker.
///
/// It is shown with its secrets masked; [`to_string_unmasked`](Self::to_string_unmasked) is the
/// way to the whole. Two URLs are equal when their decoded parts are.
///
/// ```
/// use kombu_core::BrokerUrl;
/// let url: BrokerUrl = "amqp://user:p@ss@Broker:5673/a%20b?heartbeat=10".parse()?;
/// assert_eq!(url.host(), Some("broker"));
/// assert_eq!(url.port(), Some(5673));
/// assert_eq!(url.vhost(), Some("a b"));
/// assert_eq!(url.to_string(), "amqp://user:**@broker:5673/a%20b?heartbeat=10");
/// # Ok::<(), kombu_core::Error>(())
/// ```
#[derive(Clone)]
pub struct BrokerUrl {
    pub(super) parts: Parts,
    pub(super) raw: Secret,
}

/// The decoded parts, which are what equality is about.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Parts {
    pub(super) scheme: String,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) hosts: Vec<Host>,
    /// What follows the credentials, where the scheme takes both as they are written.
    pub(super) address: Option<String>,
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
}

impl BrokerUrl {
    /// Parses the URL of one broker; see the [module](super) for the grammar.
    ///
    /// # Errors
    ///
    /// `InvalidUrl`, naming the part that is wrong and what would be right. The message never
    /// quotes the URL, which may hold a password in an unexpected place.
    pub fn parse(text: &str) -> Result<Self> {
        parse::url(text).map_err(|error| error.during("parse broker URL"))
    }

    /// The scheme up to the first `+`: `redis` of `redis+socket://`. Case is kept.
    #[must_use]
    pub fn scheme(&self) -> &str {
        let scheme = self.full_scheme();
        scheme.split_once('+').map_or(scheme, |(first, _)| first)
    }

    /// What follows the first `+` of the scheme: `socket` of `redis+socket://`,
    /// `postgresql+psycopg2` of `sqla+postgresql+psycopg2://`.
    #[must_use]
    pub fn variant(&self) -> Option<&str> {
        self.full_scheme().split_once('+').map(|(_, rest)| rest)
    }

    /// The whole text before `://`.
    #[must_use]
    pub fn full_scheme(&self) -> &str {
        &self.parts.scheme
    }

    /// The hosts, in the order written; none if the URL leaves the host to the transport.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.parts.hosts
    }

    /// The name of the first host, in lower case and without brackets.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.hosts().first().map(Host::name).filter(|name| !name.is_empty())
    }

    /// The port of the first host.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.hosts().first().and_then(Host::port)
    }

    /// The user name, unless it is absent or empty.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        self.parts.username.as_deref()
    }

    /// The password; an empty one if the URL has the `:` but nothing after it.
    ///
    /// `azurestoragequeues` and `azureservicebus` take everything up to the last `@` as it is
    /// written, because account keys hold `/ + =`: for them this is that whole text, and there is
    /// no user name.
    #[must_use]
    pub fn password(&self) -> Option<&Secret> {
        self.parts.password.as_ref()
    }

    /// What stands between credentials and query, as written: `host:5672/vhost`.
    ///
    /// This is the account or namespace of the Azure schemes, with neither hosts nor path split
    /// off: `https://account.queue.core.windows.net`.
    #[must_use]
    pub fn address(&self) -> String {
        fmt::from_fn(|f| self.write_address(f)).to_string()
    }

    /// The path, with its leading slash, decoded. Empty if there is none.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.parts.path
    }

    /// The path without one leading slash, unless nothing is left: the virtual host, database
    /// number or database name.
    #[must_use]
    pub fn vhost(&self) -> Option<&str> {
        let path = self.path();
        Some(path.strip_prefix('/').unwrap_or(path)).filter(|vhost| !vhost.is_empty())
    }

    /// The query's names and values, decoded, in order. A name may occur more than once.
    pub fn query(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parts.query.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Everything after `://` exactly as written, for transports whose driver parses it.
    #[must_use]
    pub fn after_scheme(&self) -> Secret {
        let raw = self.raw.expose();
        Secret::new(raw.split_once("://").map_or(raw, |(_, rest)| rest))
    }

    /// The whole URL, passwords and all. For handing on, not for showing.
    #[must_use]
    pub fn to_string_unmasked(&self) -> String {
        fmt::from_fn(|f| self.write(f, Show::Everything)).to_string()
    }

    fn write(&self, out: &mut fmt::Formatter<'_>, show: Show) -> fmt::Result {
        let Parts { scheme, username, password, address, query, .. } = &self.parts;
        write!(out, "{scheme}://")?;
        if let Some(username) = username {
            encode(out, username, USER_INFO)?;
        }
        if let Some(password) = password {
            match (address, show) {
                (None, Show::Everything) => {
                    out.write_char(':')?;
                    encode(out, password.expose(), USER_INFO)?;
                }
                (None, Show::Masked) => write!(out, ":{MASK}")?,
                (Some(_), Show::Everything) => out.write_str(password.expose())?,
                (Some(_), Show::Masked) => out.write_str(MASK)?,
            }
        }
        if username.is_some() || password.is_some() {
            out.write_char('@')?;
        }
        self.write_address(out)?;
        for (index, (name, value)) in query.iter().enumerate() {
            out.write_char(if index == 0 { '?' } else { '&' })?;
            encode(out, name, QUERY)?;
            out.write_char('=')?;
            let secret = is_secret_option(name) || is_url_with_credentials(value);
            match show {
                Show::Masked if secret => out.write_str(MASK)?,
                Show::Masked | Show::Everything => encode(out, value, QUERY)?,
            }
        }
        Ok(())
    }

    fn write_address(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(address) = &self.parts.address {
            return out.write_str(address);
        }
        for (index, host) in self.hosts().iter().enumerate() {
            if index > 0 {
                out.write_char(',')?;
            }
            write!(out, "{host}")?;
        }
        encode(out, self.path(), PATH)
    }
}

/// Whether secrets are written.
#[derive(Clone, Copy)]
enum Show {
    Everything,
    Masked,
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, Show::Masked)
    }
}

impl fmt::Debug for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BrokerUrl({self})")
    }
}

impl PartialEq for BrokerUrl {
    fn eq(&self, other: &Self) -> bool {
        self.parts == other.parts
    }
}

impl Eq for BrokerUrl {}

impl std::hash::Hash for BrokerUrl {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.parts.hash(state);
    }
}

impl FromStr for BrokerUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl TryFrom<&str> for BrokerUrl {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

/// One host of a URL, and its port if the URL names one.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Host {
    pub(super) name: String,
    pub(super) port: Option<u16>,
}

impl Host {
    /// The name or address, in lower case and without brackets. Empty if only a port was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

/// Writes `name:port` as it stands in a URL: an IPv6 address in brackets.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            f.write_char('[')?;
            encode(f, &self.name, ADDRESS)?;
            f.write_char(']')?;
        } else {
            encode(f, &self.name, USER_INFO)?;
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

fn encode(out: &mut fmt::Formatter<'_>, text: &str, escaped: &'static AsciiSet) -> fmt::Result {
    utf8_percent_encode(text, escaped).try_for_each(|piece| out.write_str(piece))
}
