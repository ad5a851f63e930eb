//! Which options hold secrets, and how the parts of a URL are written and escaped.

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC};

/// Whether an option of this name holds a secret, so that its value must not be shown.
///
/// Names of files, paths, prefixes and times are not secret, whatever else they mention:
/// `ssl_keyfile`, `global_keyprefix`, `sts_token_timeout`.
pub(crate) fn is_secret_option(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    if HARMLESS_ENDINGS.iter().any(|ending| name.ends_with(ending)) {
        return false;
    }
    SECRET_PARTS.iter().any(|part| name.contains(part))
        || name.split(['_', '-', '.']).any(|word| SECRET_WORDS.contains(&word))
}

/// Whether a value looks like a URL with credentials in it.
pub(crate) fn is_url_with_credentials(value: &str) -> bool {
    value.split_once("://").is_some_and(|(_, rest)| rest.contains('@'))
}

const HARMLESS_ENDINGS: &[&str] = &["file", "path", "prefix", "timeout", "time"];
const SECRET_PARTS: &[&str] =
    &["passw", "passphrase", "pwd", "secret", "token", "key", "credential", "signature"];
const SECRET_WORDS: &[&str] = &["sig", "sas", "pass", "auth"];

/// What is escaped in a user name, a password and a host.
pub(super) const USER_INFO: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What is escaped in an IPv6 address, of which only the zone's `%` needs it.
pub(super) const ADDRESS: &AsciiSet = &USER_INFO.remove(b':');

/// What is escaped in a path.
pub(super) const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b';')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`');

/// What is escaped in the names and values of a query.
pub(super) const QUERY: &AsciiSet = &USER_INFO.remove(b'/').remove(b':').remove(b',');
