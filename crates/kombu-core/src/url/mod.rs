//! Broker URLs: one, or several joined by `;` of which any will do.
//!
//! ```text
//! scheme[+variant]://[user[:password]@][host[:port][,host[:port]…]][/path][?name=value[&…]]
//! ```
//!
//! - User, password, host, path and query are percent-decoded; `+` is a space in the query only.
//! - The password may hold `@` and `:` as they are. Write `/ ? # % ;` and spaces in a user name or
//!   password as `%2F %3F %23 %25 %3B %20`; a raw `;` always starts the next URL.
//! - One slash in front of the path is not part of the virtual host: `amqp://h/a/b` means `a/b`,
//!   `amqp://h//` and `amqp://h/%2F` mean `/`, `amqp://h` and `amqp://h/` leave it to the transport.
//! - Host names are lower-cased, virtual hosts are not. IPv6 addresses stand in brackets.
//! - The query carries options: those of the connection, such as `heartbeat=10`, and the
//!   transport's own, such as `visibility_timeout=60`.
//!
//! URLs never show their password in `Display`, `Debug` or an error.
//!
//! # Kombu
//!
//! `kombu.utils.url.parse_url` and the first argument of `kombu.Connection`. A text without `://`
//! is a host name there; here it is an error that says what to write. A `#` and what follows it is
//! dropped there; here it is an error, because it nearly always is a password that needed escaping.
//! The scheme of a URL without `+` is lower-cased there; here its case is kept.

mod broker_url;
mod mask;
mod parse;
mod secret;
mod urls;

pub use broker_url::{BrokerUrl, Host};
pub use secret::Secret;
pub use urls::{BrokerUrls, IntoUrls};

pub(crate) use mask::{is_secret_option, is_url_with_credentials};
pub(crate) use secret::MASK;
