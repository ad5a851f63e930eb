//! What a connection needs to know, read once from the parameters.

use std::time::Duration;

use kombu_core::options::TlsChoice;
use kombu_core::tls::Verify;
use kombu_core::transport::ConnectParams;
use kombu_core::{Error, ErrorKind, Result, TlsOptions};
use mongodb::options::{ClientOptions, Tls, TlsOptions as DriverTls};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::error;
use crate::options::MongodbOptions;

/// Where to connect to, and how.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) client: ClientOptions,
    pub(crate) database: String,
    /// The time between two signs of life; zero for none.
    pub(crate) heartbeat: Duration,
    pub(crate) timeout: Duration,
    pub(crate) options: MongodbOptions,
}

impl Settings {
    pub(crate) async fn new(params: &ConnectParams) -> Result<Self> {
        let options = MongodbOptions::from_options(params.options.clone())?;
        let text = connection_string(params, &options)?;
        let mut client = ClientOptions::parse(&text).await.map_err(|error| {
            let error = error::driver(error);
            match error.kind() {
                ErrorKind::InvalidArgument => error.during("read the URL"),
                _ => error,
            }
        })?;
        let timeout = params.connection.connect_timeout;
        client.connect_timeout.get_or_insert(timeout);
        client.server_selection_timeout.get_or_insert(timeout);
        client.max_pool_size.get_or_insert(100);
        // What broke is reported, and the layers above try again: they know what is worth it.
        client.retry_reads.get_or_insert(false);
        client.retry_writes.get_or_insert(false);
        if let Some(name) = &params.client_name {
            client.app_name.get_or_insert_with(|| name.clone());
        }
        match &params.connection.tls {
            TlsChoice::On(tls) => client.tls = Some(Tls::Enabled(encryption(tls)?)),
            TlsChoice::Off => client.tls = Some(Tls::Disabled),
            _ => {}
        }
        let vhost = params.url.vhost().filter(|vhost| *vhost != "/");
        Ok(Self {
            client,
            database: vhost.map_or_else(|| options.default_database.clone(), str::to_owned),
            heartbeat: params.connection.heartbeat.unwrap_or(HEARTBEAT),
            timeout,
            options,
        })
    }
}

/// The URL as the driver reads it: with its own options and no others.
fn connection_string(params: &ConnectParams, options: &MongodbOptions) -> Result<String> {
    let url = &params.url;
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let mut text = match (url.scheme(), url.variant()) {
        ("mongodb", None) => "mongodb://".to_owned(),
        ("mongodb", Some("srv")) => "mongodb+srv://".to_owned(),
        _ => {
            return Err(Error::new(
                ErrorKind::InvalidUrl,
                format!("scheme {:?} is none of mongodb, mongodb+srv", url.full_scheme()),
            ));
        }
    };
    if let Some(user) = url.username() {
        text += &encoded(user);
        if let Some(password) = url.password() {
            text.push(':');
            text += &encoded(password.expose());
        }
        text.push('@');
    }
    let mut hosts = Vec::new();
    for host in url.hosts() {
        let name = if host.name().is_empty() { &options.default_hostname } else { host.name() };
        let name = if name.contains(':') { format!("[{name}]") } else { name.to_owned() };
        hosts.push(match (host.port(), url.variant()) {
            (Some(port), _) => format!("{name}:{port}"),
            (None, Some(_)) => name,
            (None, None) => format!("{name}:{}", options.default_port),
        });
    }
    if hosts.is_empty() {
        hosts.push(format!("{}:{}", options.default_hostname, options.default_port));
    }
    text += &hosts.join(",");
    text.push('/');
    if let Some(database) = url.vhost().filter(|vhost| *vhost != "/") {
        if database.contains(['/', '\\', '.', ' ', '"', '$', '\0']) {
            return Err(Error::new(
                ErrorKind::InvalidUrl,
                format!("the path {database:?} is to be the name of a database"),
            ));
        }
        text += &encoded(database);
    }
    for (at, (name, value)) in options.driver.iter().enumerate() {
        let separator = if at == 0 { '?' } else { '&' };
        text += &format!("{separator}{name}={}", encoded(value));
    }
    Ok(text)
}

fn encryption(tls: &TlsOptions) -> Result<DriverTls> {
    let unsupported = |what: &str| {
        Err(Error::new(ErrorKind::Unsupported, format!("MongoDB's driver has no {what}")))
    };
    if tls.server_name.is_some() {
        return unsupported("ssl_server_hostname: the certificate must be for the URL's host");
    }
    let mut driver = DriverTls::default();
    match tls.verify {
        Verify::Full => {}
        Verify::None => {
            tracing::warn!(
                "TLS certificates are not verified (ssl_cert_reqs=none): anyone on the way to the \
                 server can read and change all messages and credentials"
            );
            driver.allow_invalid_certificates = Some(true);
        }
        Verify::NoHostname => {
            return unsupported("ssl_check_hostname=false; ssl_cert_reqs=none verifies nothing");
        }
    }
    if tls.keyfile.is_some() && tls.keyfile != tls.certfile {
        return unsupported("ssl_keyfile: put the key into ssl_certfile, beside the certificate");
    }
    driver.ca_file_path.clone_from(&tls.ca_certs);
    driver.cert_key_file_path.clone_from(&tls.certfile);
    Ok(driver)
}

/// The time between two signs of life.
const HEARTBEAT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use kombu_core::{BrokerUrl, Options};

    use super::*;

    fn text(url: &str) -> Result<String> {
        let params = ConnectParams::new(BrokerUrl::parse(url)?, Options::new())?;
        let options = MongodbOptions::from_options(params.options.clone())?;
        connection_string(&params, &options)
    }

    async fn settings(url: &str) -> Result<Settings> {
        Settings::new(&ConnectParams::new(BrokerUrl::parse(url)?, Options::new())?).await
    }

    #[test]
    fn the_driver_gets_its_own_options_only() {
        for (url, expected) in [
            ("mongodb://", "mongodb://127.0.0.1:27017/"),
            ("mongodb://h//", "mongodb://h:27017/"),
            ("mongodb://h/d?ttl=1&default_port=5", "mongodb://h:5/d"),
            ("mongodb://a:1,b/d?replicaSet=r%2F0", "mongodb://a:1,b:27017/d?replicaset=r%2F0"),
            ("mongodb://u%40x:p%2Fw@h", "mongodb://u%40x:p%2Fw@h:27017/"),
            ("mongodb+srv://u:p@c.example/d", "mongodb+srv://u:p@c%2Eexample/d"),
            ("mongodb://[::1]:7/d", "mongodb://[::1]:7/d"),
        ] {
            let expected = expected.replace("%2E", ".");
            assert_eq!(text(url).unwrap(), expected, "{url}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for (url, says) in [
            ("mongodb://h/a.b", "name of a database"),
            ("mongodb://h/a$", "name of a database"),
            ("mongodb+tls://h/a", "none of mongodb"),
        ] {
            let error = text(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidUrl, "{url}: {error}");
            assert!(error.to_string().contains(says), "{url}: {error}");
        }
    }

    #[tokio::test]
    async fn the_database_is_the_path() {
        for (url, database) in [
            ("mongodb://h/video", "video"),
            ("mongodb://h", "kombu_default"),
            ("mongodb://h//", "kombu_default"),
            ("mongodb://h?default_database=other", "other"),
        ] {
            assert_eq!(settings(url).await.unwrap().database, database, "{url}");
        }
    }

    #[tokio::test]
    async fn tls_is_the_cores_or_the_drivers() {
        let tls = settings("mongodb://h?ssl_ca_certs=/ca.pem").await.unwrap().client.tls;
        let Some(Tls::Enabled(tls)) = tls else { panic!("no TLS") };
        assert_eq!(tls.ca_file_path.as_deref(), Some("/ca.pem".as_ref()));
        assert_eq!(tls.allow_invalid_certificates, None);
        let tls = settings("mongodb://h?tls=true&tlsCAFile=/other.pem").await.unwrap().client.tls;
        let Some(Tls::Enabled(tls)) = tls else { panic!("no TLS") };
        assert_eq!(tls.ca_file_path.as_deref(), Some("/other.pem".as_ref()));
        for (url, says) in [
            ("mongodb://h?ssl_check_hostname=false", "ssl_cert_reqs=none"),
            ("mongodb://h?ssl_certfile=/c&ssl_keyfile=/k", "into ssl_certfile"),
        ] {
            let error = settings(url).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[tokio::test]
    async fn a_wrong_option_of_the_driver_is_refused() {
        let error = settings("mongodb://h?maxPoolSize=many").await.unwrap_err();
        assert!(error.to_string().to_lowercase().contains("maxpoolsize"), "{error}");
    }
}
