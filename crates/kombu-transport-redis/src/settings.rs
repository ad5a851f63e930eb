//! What a connection needs to know, read once from the parameters.

use std::time::Duration;

use kombu_core::transport::ConnectParams;
use kombu_core::{Error, ErrorKind, Result, TlsOptions};

use crate::options::RedisOptions;
use crate::place::{Login, Place, Tls};
use crate::sentinel::Sentinels;

/// Where to connect to, and how.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) target: Target,
    pub(crate) login: Login,
    pub(crate) heartbeat: Duration,
    pub(crate) name: Option<String>,
    pub(crate) options: RedisOptions,
}

/// What a URL leads to.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// A server or a cluster.
    Place(Place),
    /// The master among some servers.
    Sentinels(Sentinels),
}

impl Settings {
    pub(crate) fn new(params: &ConnectParams) -> Result<Self> {
        let options = RedisOptions::from_options(params.options.clone())?;
        let url = &params.url;
        let timeout = options.socket.connect_timeout.unwrap_or(params.connection.connect_timeout);
        let hosts = |default_port: u16| -> Vec<(String, u16)> {
            let named = url.hosts().iter().map(|host| {
                let name = if host.name().is_empty() { LOCAL } else { host.name() };
                (name.to_owned(), host.port().unwrap_or(default_port))
            });
            let named: Vec<_> = named.collect();
            if named.is_empty() { vec![(LOCAL.to_owned(), default_port)] } else { named }
        };
        let mut number = database(url.vhost());
        let target = match (url.scheme(), url.variant()) {
            ("sentinel", None) => Target::Sentinels(Sentinels {
                places: hosts(26_379)
                    .into_iter()
                    .map(|(host, port)| Place::Tcp { host, port })
                    .collect(),
                login: Login {
                    username: options.sentinel.username.clone(),
                    password: options.sentinel.password.clone(),
                    database: None,
                    tls: options.sentinel.tls.as_ref().map(encryption).transpose()?,
                    timeout,
                },
                master_name: options.sentinel.master_name.clone().ok_or_else(|| {
                    Error::new(
                        ErrorKind::InvalidArgument,
                        "sentinel:// needs option master_name: what the sentinels call the servers",
                    )
                })?,
                min_others: options.sentinel.min_other_sentinels,
            }),
            ("redis" | "rediss", Some("cluster")) => Target::Place(Place::Cluster(hosts(6379))),
            ("redis", Some("socket")) => {
                number = Ok(options.virtual_host.unwrap_or(0));
                Target::Place(Place::Socket(url.path().into()))
            }
            ("redis" | "rediss", None) => match hosts(6379).as_slice() {
                [(host, port)] => Target::Place(Place::Tcp { host: host.clone(), port: *port }),
                _ => {
                    return Err(Error::new(
                        ErrorKind::InvalidUrl,
                        "a redis:// URL has one host; write alternates as URLs of their own, \
                         joined by `;`, and the nodes of a cluster as redis+cluster://",
                    ));
                }
            },
            _ => {
                return Err(Error::new(
                    ErrorKind::InvalidUrl,
                    format!(
                        "scheme {:?} is none of redis, rediss, redis+socket, redis+cluster, \
                         rediss+cluster, sentinel",
                        url.full_scheme()
                    ),
                ));
            }
        };
        let number = number?;
        let clustered = matches!(target, Target::Place(Place::Cluster(_)));
        if clustered && number > 0 {
            return Err(Error::new(
                ErrorKind::InvalidUrl,
                "a cluster has no databases; leave the path out",
            ));
        }
        let tls = params.tls(SECURE_SCHEMES)?;
        let login = Login {
            username: url.username().map(str::to_owned),
            password: url.password().cloned(),
            database: (!clustered).then_some(number),
            tls: tls.as_ref().map(encryption).transpose()?,
            timeout,
        };
        Ok(Self {
            target,
            login,
            heartbeat: params
                .connection
                .heartbeat
                .or(options.socket.health_check_interval)
                .unwrap_or(HEARTBEAT),
            name: params.client_name.clone().or_else(|| options.socket.client_name.clone()),
            options,
        })
    }
}

fn encryption(tls: &TlsOptions) -> Result<Tls> {
    Ok(Tls { config: tls.client_config()?, server_name: tls.server_name.clone() })
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

/// The host where a URL has none.
const LOCAL: &str = "127.0.0.1";

/// The time between two pings.
const HEARTBEAT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use kombu_core::{BrokerUrl, Options};

    use super::*;

    fn settings(url: &str) -> Result<Settings> {
        Settings::new(&ConnectParams::new(BrokerUrl::parse(url)?, Options::new())?)
    }

    fn place(url: &str) -> (Place, Option<u8>) {
        let settings = settings(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        let Target::Place(place) = settings.target else { panic!("{url} leads to sentinels") };
        (place, settings.login.database)
    }

    fn tcp(host: &str, port: u16) -> Place {
        Place::Tcp { host: host.to_owned(), port }
    }

    #[test]
    fn places_are_read() {
        assert_eq!(place("redis://"), (tcp("127.0.0.1", 6379), Some(0)));
        assert_eq!(place("redis://h:1/3"), (tcp("h", 1), Some(3)));
        assert_eq!(place("redis://h//"), (tcp("h", 6379), Some(0)));
        let socket = (Place::Socket("/run/r.sock".into()), Some(4));
        assert_eq!(place("redis+socket:///run/r.sock?virtual_host=4"), socket);
        let nodes = vec![("a".to_owned(), 1), ("b".to_owned(), 6379)];
        assert_eq!(place("redis+cluster://a:1,b"), (Place::Cluster(nodes), None));
    }

    #[test]
    fn sentinels_are_read() {
        let settings = settings("sentinel://:pw@a,b:1/2?master_name=m").unwrap();
        let Target::Sentinels(sentinels) = settings.target else { panic!("no sentinels") };
        assert_eq!(sentinels.places, [tcp("a", 26_379), tcp("b", 1)]);
        assert_eq!((sentinels.master_name.as_str(), sentinels.login.database), ("m", None));
        assert!(sentinels.login.password.is_none(), "the password is the servers'");
        assert_eq!(settings.login.database, Some(2));
    }

    #[test]
    fn credentials_are_read() {
        for (url, user, password) in
            [("redis://:pw@h", None, Some("pw")), ("redis://u:pw@h:1/3", Some("u"), Some("pw"))]
        {
            let login = settings(url).unwrap().login;
            assert_eq!(login.username.as_deref(), user, "{url}");
            assert_eq!(login.password.as_ref().map(|secret| secret.expose()), password, "{url}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for (url, says) in [
            ("redis://h/x", "number of a database"),
            ("redis://h/300", "from 0 to 255"),
            ("redis://a,b", "one host"),
            ("redis+cluster://h/1", "no databases"),
            ("rediss+socket:///s", "is none of redis"),
            ("sentinel://h", "master_name"),
        ] {
            let error = settings(url).map(drop).unwrap_err();
            assert!(error.to_string().contains(says), "{url}: {error}");
        }
    }
}
