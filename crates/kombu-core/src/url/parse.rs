//! The grammar.
//!
//! Messages name the part that is wrong by its place, never by its text: with a forgotten escape,
//! the "port" or the "path" is a piece of the password.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use percent_encoding::percent_decode_str;

use super::broker_url::{BrokerUrl, Host, Parts};
use super::secret::Secret;
use crate::error::{Error, ErrorKind, Result};

/// Schemes whose credentials are taken as they are written, up to the last `@`.
///
/// Their keys are base64, `/ + =` included, and Kombu does not decode them; this is a property of
/// their grammar, so that no other part needs to know of it.
const RAW_CREDENTIALS: [&str; 2] = ["azurestoragequeues", "azureservicebus"];

pub(super) fn url(text: &str) -> Result<BrokerUrl> {
    if text.is_empty() {
        return Err(invalid("the URL is empty; write one such as amqp://localhost//"));
    }
    check_characters(text)?;
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(no_scheme(text));
    };
    check_scheme(scheme)?;
    let mut parts = Parts { scheme: scheme.to_owned(), ..Parts::default() };
    let prefix = scheme.split_once('+').map_or(scheme, |(first, _)| first);
    if RAW_CREDENTIALS.contains(&prefix) {
        raw_rest(rest, &mut parts)?;
    } else {
        rest_of(rest, &mut parts).map_err(|error| hint(rest, error))?;
    }
    Ok(BrokerUrl { parts, raw: Secret::new(text) })
}

/// Says that a text has no scheme, and what to write. Texts that may hold a secret are not quoted.
pub(super) fn no_scheme(text: &str) -> Error {
    let word = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    invalid(if text.contains(['@', '?', ':', '/']) {
        "no \"://\": write the scheme too, such as amqp://user:password@host:5672/vhost".to_owned()
    } else if word {
        format!("{text:?} has no \"://\": write amqp://{text} for a host, {text}:// for a scheme")
    } else {
        format!("{text:?} has no \"://\": write the scheme too, such as amqp://{text}")
    })
}

pub(super) fn invalid(message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidUrl, message)
}

fn check_characters(text: &str) -> Result<()> {
    let Some((index, found)) =
        text.chars().enumerate().find(|(_, c)| c.is_control() || c.is_whitespace())
    else {
        return Ok(());
    };
    let what = match found {
        '\0' => "a NUL",
        '\t' => "a tab",
        '\n' | '\r' => "a line end",
        c if c.is_whitespace() => "a space",
        _ => "a control character",
    };
    Err(invalid(format!(
        "{what} at character {}; remove it, or write it as a percent escape such as %20",
        index + 1
    )))
}

fn check_scheme(scheme: &str) -> Result<()> {
    if scheme.is_empty() {
        return Err(invalid("no scheme before \"://\"; write one such as amqp://"));
    }
    if scheme.contains(['@', '/', '?']) {
        return Err(invalid("the URL does not start with a scheme; write one such as amqp://"));
    }
    if let Some(found) = scheme.chars().find(|c| matches!(c, '.' | ':')) {
        return Err(invalid(format!(
            "the scheme holds {found:?}; it must be a transport's name such as amqp, not the path \
             of a module or class"
        )));
    }
    if let Some(found) =
        scheme.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '+' | '-' | '_'))
    {
        return Err(invalid(format!(
            "the scheme holds {found:?}; it may hold letters, digits, \"+\", \"-\" and \"_\""
        )));
    }
    if scheme.split('+').any(str::is_empty) {
        return Err(invalid("the scheme has nothing before or after a \"+\""));
    }
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err(invalid("the scheme must start with a letter"));
    }
    Ok(())
}

/// Splits what follows `://` the usual way.
fn rest_of(rest: &str, parts: &mut Parts) -> Result<()> {
    if rest.contains('#') {
        return Err(invalid("a \"#\" must be written as %23"));
    }
    let (before_query, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) =
        before_query.split_at(before_query.find('/').unwrap_or(before_query.len()));
    let (user_info, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (username, password) = match user_info.split_once(':') {
        Some((username, password)) => (username, Some(password)),
        None => (user_info, None),
    };
    parts.username = Some(decode_name("user name", username)?).filter(|name| !name.is_empty());
    parts.password =
        password.map(|text| decode_name("password", text)).transpose()?.map(Secret::new);
    parts.hosts = parse_hosts(hosts)?;
    parts.path = decode_name("path", path)?;
    parts.query = parse_query(query)?;
    Ok(())
}

/// Splits what follows `://` at the last `@`, both sides taken as they are; only the query is
/// decoded.
fn raw_rest(rest: &str, parts: &mut Parts) -> Result<()> {
    let (credentials, address) = match rest.rsplit_once('@') {
        Some((credentials, address)) => (Some(credentials), address),
        None => (None, rest),
    };
    let (address, query) = address.split_once('?').unwrap_or((address, ""));
    parts.password = credentials.map(Secret::from);
    parts.address = Some(address.to_owned());
    parts.query = parse_query(query)?;
    Ok(())
}

fn parse_hosts(text: &str) -> Result<Vec<Host>> {
    if matches!(text, "" | ":") {
        return Ok(Vec::new());
    }
    let several = text.contains(',');
    text.split(',')
        .map(|host| {
            if several && (host.is_empty() || host.starts_with(':')) {
                return Err(invalid("an empty host in the list of hosts; remove the extra \",\""));
            }
            parse_host(host)
        })
        .collect()
}

fn parse_host(text: &str) -> Result<Host> {
    let (name, port) = if let Some(inside) = text.strip_prefix('[') {
        let Some((address, after)) = inside.split_once(']') else {
            return Err(invalid("the bracket before an IPv6 address is not closed with \"]\""));
        };
        let port = match after.strip_prefix(':') {
            Some(port) => port,
            None if after.is_empty() => "",
            None => {
                return Err(invalid("only \":\" and a port may follow the \"]\" of a host"));
            }
        };
        (ipv6(address)?, port)
    } else {
        let (name, port) = text.split_once(':').unwrap_or((text, ""));
        if port.contains(':') && text.parse::<Ipv6Addr>().is_ok() {
            return Err(invalid("an IPv6 address must stand in brackets, as in amqp://[::1]:5672"));
        }
        (host_name(name)?, port)
    };
    Ok(Host { name, port: parse_port(port)? })
}

fn ipv6(text: &str) -> Result<String> {
    let address = decode_name("host", text)?;
    let digits = address.split_once('%').map_or(address.as_str(), |(digits, _zone)| digits);
    if digits.parse::<Ipv6Addr>().is_err() {
        return Err(invalid("what stands in brackets is not an IPv6 address, such as [::1]"));
    }
    Ok(address.to_ascii_lowercase())
}

fn host_name(text: &str) -> Result<String> {
    let name = decode_name("host", text)?;
    if let Some(found) = name.chars().find(|&c| c.is_control() || NOT_IN_HOSTS.contains(c)) {
        return Err(invalid(format!("the host holds {found:?}, which no host name may hold")));
    }
    // A socket's directory, as some database drivers take for a host, has case.
    Ok(if name.starts_with('/') { name } else { name.to_ascii_lowercase() })
}

fn parse_port(text: &str) -> Result<Option<u16>> {
    if text.is_empty() {
        return Ok(None);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid("the port is not a number; write one from 1 to 65535"));
    }
    match text.parse() {
        Ok(port) if port > 0 => Ok(Some(port)),
        _ => Err(invalid("the port is out of range; write one from 1 to 65535")),
    }
}

fn parse_query(text: &str) -> Result<Vec<(String, String)>> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty()).enumerate();
    pairs
        .map(|(index, pair)| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode("query option's name", &name.replace('+', " "))?;
            if name.is_empty() {
                return Err(invalid(format!("query option {} has no name", index + 1)));
            }
            if !name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.:[]".contains(c)) {
                return Err(invalid(format!(
                    "the name of query option {} holds more than letters, digits, \"_\", \"-\" \
                     and \".\"",
                    index + 1
                )));
            }
            Ok((name, decode("query option's value", &value.replace('+', " "))?))
        })
        .collect()
}

/// Decodes a part that is sent to a broker as a name or a credential, where a NUL ends or splits.
fn decode_name(part: &str, text: &str) -> Result<String> {
    let decoded = decode(part, text)?;
    if decoded.contains('\0') {
        return Err(invalid(format!("the {part} holds an escaped NUL (%00)")));
    }
    Ok(decoded)
}

fn decode(part: &str, text: &str) -> Result<String> {
    for (index, _) in text.match_indices('%') {
        let digits = text.as_bytes().get(index + 1..index + 3);
        if !digits.is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit)) {
            return Err(invalid(format!(
                "bad percent escape in the {part}; two hexadecimal digits must follow \"%\", and \
                 a percent sign itself is written %25"
            )));
        }
    }
    percent_decode_str(text).decode_utf8().map(Cow::into_owned).map_err(|error| {
        invalid(format!("the percent escapes in the {part} are not UTF-8")).caused_by(error)
    })
}

/// Adds the likely cause when credentials seem to reach beyond the first `/`, `?` or `#`.
fn hint(rest: &str, error: Error) -> Error {
    let after = rest.find(['/', '?', '#']).map_or("", |end| &rest[end..]);
    if after.contains('@') {
        let text = error.message().to_owned();
        return invalid(format!(
            "{text}; if a user name or password holds \"/\", \"?\" or \"#\", write it as %2F, %3F \
             or %23"
        ));
    }
    error
}

const NOT_IN_HOSTS: &str = "\"<>\\^`{|}[]:@ ";
