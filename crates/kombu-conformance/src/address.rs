//! Changes to URLs: another address, another password, one more option.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

use kombu_core::BrokerUrl;

/// Where the broker of a URL listens, if the URL says so.
pub(crate) fn of(url: &str) -> Option<(String, u16)> {
    let url = BrokerUrl::parse(url).ok()?;
    Some((url.host()?.to_owned(), url.port()?))
}

/// The same URL with another port of this machine. `localhost` stays, for certificates are made
/// out to it; any other host becomes `127.0.0.1`.
pub(crate) fn with_port(url: &str, port: u16) -> String {
    let (before, authority, after) = parts(url);
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let at = if user.is_empty() && !authority.contains('@') { "" } else { "@" };
    let host = if host.starts_with("localhost") { "localhost" } else { "127.0.0.1" };
    format!("{before}{user}{at}{host}:{port}{after}")
}

/// The same URL with another password, if it has one.
pub(crate) fn with_password(url: &str, password: &str) -> Option<String> {
    let (before, authority, after) = parts(url);
    let (user, host) = authority.rsplit_once('@')?;
    let (user, _old) = user.split_once(':')?;
    Some(format!("{before}{user}:{password}@{host}{after}"))
}

/// The same URL with one more option.
pub(crate) fn with_option(url: &str, option: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}{option}")
}

/// A port of this machine that nobody listens on.
pub(crate) fn closed_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// What is before the authority, the authority, and what is after it.
fn parts(url: &str) -> (&str, &str, &str) {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find(['/', '?']).map_or(url.len(), |at| start + at);
    (&url[..start], &url[start..end], &url[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_replaced() {
        assert_eq!(with_port("amqp://u:p@ss@broker:1//?a=b", 7), "amqp://u:p@ss@127.0.0.1:7//?a=b");
        assert_eq!(with_port("amqps://localhost:1", 7), "amqps://localhost:7");
        assert_eq!(with_port("amqp://u@[::1]:1/v", 7), "amqp://u@127.0.0.1:7/v");
    }

    #[test]
    fn passwords_and_options_are_replaced() {
        assert_eq!(with_password("a://u:p@h:1/v", "x").as_deref(), Some("a://u:x@h:1/v"));
        assert_eq!(with_password("a://h:1/v", "x"), None);
        assert_eq!(with_option("a://h", "x=1"), "a://h?x=1");
        assert_eq!(with_option("a://h?y=2", "x=1"), "a://h?y=2&x=1");
    }

    #[test]
    fn an_address_needs_host_and_port() {
        assert_eq!(of("amqp://u:p@h:5//"), Some(("h".to_owned(), 5)));
        assert_eq!(of("memory://"), None);
        assert_eq!(of("amqp://h"), None);
    }
}
