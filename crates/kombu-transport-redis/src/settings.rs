//! What a connection needs to know, read once from the parameters.

use std::time::Duration;

use kombu_core::transport::ConnectParams;
use kombu_core::{Error, ErrorKind, Result};

use crate::driver::{Login, Place};
use crate::options::RedisOptions;

/// Where to connect to, and how.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) place: Place,
    pub(crate) login: Login,
    pub(crate) heartbeat: Duration,
    pub(crate) name: Option<String>,
    pub(crate) options: RedisOptions,
}

impl Settings {
    pub(crate) fn new(params: &ConnectParams) -> Result<Self> {
        let options = RedisOptions::from_options(params.options.clone())?;
        let url = &params.url;
        if url.hosts().len() > 1 {
            return Err(Error::new(
                ErrorKind::InvalidUrl,
                "a Redis URL has one host; write alternates as URLs of their own, joined by `;`",
            ));
        }
        if let Some(variant) = url.variant() {
            return Err(Error::new(
                ErrorKind::InvalidUrl,
                format!("scheme {:?} has no variant {variant:?}", url.scheme()),
            ));
        }
        let host = url.host().unwrap_or("127.0.0.1").to_owned();
        let place = Place::Tcp { host, port: url.port().unwrap_or(6379) };
        let login = Login {
            username: url.username().map(str::to_owned),
            password: url.password().cloned(),
            database: database(url.vhost())?,
            tls: tls(params)?,
            timeout: params.connection.connect_timeout,
        };
        Ok(Self {
            place,
            login,
            heartbeat: params.connection.heartbeat.unwrap_or(HEARTBEAT),
            name: params.client_name.clone(),
            options,
        })
    }
}

fn tls(params: &ConnectParams) -> Result<Option<crate::driver::Tls>> {
    let Some(tls) = params.tls(SECURE_SCHEMES)? else { return Ok(None) };
    let server_name = tls.server_name.clone();
    Ok(Some(crate::driver::Tls { config: tls.client_config()?, server_name }))
}

/// The number of a database; none, or a slash, is the first.
fn database(vhost: Option<&str>) -> Result<u8> {
    match vhost {
        None | Some("/") => Ok(0),
        Some(text) => text.parse().map_err(|_| {
            Error::new(
                ErrorKind::InvalidUrl,
                format!("the path {text:?} is to be the number of a database, from 0 to 255"),
            )
        }),
    }
}

/// Schemes that always mean TLS.
const SECURE_SCHEMES: &[&str] = &["rediss"];

/// The time between two pings.
const HEARTBEAT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use kombu_core::{BrokerUrl, Options};

    use super::*;

    fn settings(url: &str) -> Result<Settings> {
        Settings::new(&ConnectParams::new(BrokerUrl::parse(url)?, Options::new())?)
    }

    #[test]
    fn defaults_are_kombus() {
        let settings = settings("redis://").unwrap();
        assert_eq!(settings.place, Place::Tcp { host: "127.0.0.1".to_owned(), port: 6379 });
        assert_eq!((settings.login.database, settings.login.username), (0, None));
    }

    #[test]
    fn credentials_and_databases_are_read() {
        for (url, user, password, database) in [
            ("redis://:pw@h", None, Some("pw"), 0),
            ("redis://u:pw@h:1/3", Some("u"), Some("pw"), 3),
            ("redis://h//", None, None, 0),
        ] {
            let login = settings(url).unwrap().login;
            assert_eq!(login.username.as_deref(), user, "{url}");
            assert_eq!(login.password.as_ref().map(|secret| secret.expose()), password, "{url}");
            assert_eq!(login.database, database, "{url}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for (url, says) in [
            ("redis://h/x", "number of a database"),
            ("redis://h/300", "from 0 to 255"),
            ("redis://a,b", "one host"),
        ] {
            let error = settings(url).map(drop).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
