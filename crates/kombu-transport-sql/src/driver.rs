//! How to open a connection to each database.

use std::fmt;

use kombu_core::tls::{TlsOptions, Verify};
use kombu_core::transport::ConnectParams;
use kombu_core::{Error, Result};

use crate::address::{Address, Server};
use crate::dialect::Dialect;
use crate::error::{Failure, failure};
use crate::options::{SqlOptions, Synchronous};
use crate::session::{Column, Session, Sql, Step};

/// Opens connections to one database.
#[derive(Clone)]
pub(crate) struct Driver {
    options: Options,
    begin: Sql,
}

#[derive(Clone)]
enum Options {
    #[cfg(feature = "mysql")]
    MySql(Box<sqlx::mysql::MySqlConnectOptions>),
    #[cfg(feature = "postgres")]
    Postgres(Box<sqlx::postgres::PgConnectOptions>),
    #[cfg(feature = "sqlite")]
    Sqlite(Box<sqlx::sqlite::SqliteConnectOptions>),
}

impl Driver {
    /// Reads what a connection needs.
    ///
    /// # Errors
    ///
    /// `Unsupported` for a database whose driver is not built in, `InvalidArgument` for TLS options
    /// that the driver does not have.
    pub(crate) fn new(
        address: &Address,
        params: &ConnectParams,
        options: &SqlOptions,
    ) -> Result<Self> {
        let (options, dialect) = match address {
            #[cfg(feature = "sqlite")]
            Address::Sqlite(file) => {
                (Options::Sqlite(Box::new(sqlite(file.as_deref(), options))), Dialect::Sqlite)
            }
            #[cfg(feature = "postgres")]
            Address::Postgres(server) => {
                (Options::Postgres(Box::new(postgres(server, params)?)), Dialect::Postgres)
            }
            #[cfg(feature = "mysql")]
            Address::MySql(server) => {
                (Options::MySql(Box::new(mysql(server, params)?)), Dialect::MySql)
            }
            #[cfg(not(all(feature = "mysql", feature = "postgres", feature = "sqlite")))]
            other => {
                let _unused = (params, options);
                return Err(Error::new(
                    kombu_core::ErrorKind::Unsupported,
                    format!(
                        "the driver is not compiled in; enable the feature {:?} of the crate \
                         kombu or kombu-transport-sql",
                        other.feature()
                    ),
                ));
            }
        };
        Ok(Self { options, begin: dialect.begin().into() })
    }

    /// The options of PostgreSQL, for a connection that listens.
    #[cfg(feature = "postgres")]
    pub(crate) fn postgres(&self) -> Option<sqlx::postgres::PgConnectOptions> {
        match &self.options {
            Options::Postgres(options) => Some((**options).clone()),
            #[cfg(any(feature = "mysql", feature = "sqlite"))]
            _ => None,
        }
    }

    /// What opens a transaction that writes.
    pub(crate) fn begin(&self) -> &Sql {
        &self.begin
    }

    /// Opens a connection, and says what the server calls it.
    pub(crate) async fn open(&self) -> Result<(Box<dyn Session>, Option<i64>), Failure> {
        match &self.options {
            #[cfg(feature = "sqlite")]
            Options::Sqlite(options) => {
                use sqlx::ConnectOptions as _;
                Ok((Box::new(options.connect().await.map_err(failure)?), None))
            }
            #[cfg(feature = "postgres")]
            Options::Postgres(options) => {
                use sqlx::ConnectOptions as _;
                let mut session = options.connect().await.map_err(failure)?;
                let number = number(&mut session, "SELECT pg_backend_pid()").await?;
                Ok((Box::new(session), number))
            }
            #[cfg(feature = "mysql")]
            Options::MySql(options) => {
                use sqlx::ConnectOptions as _;
                let mut session = options.connect().await.map_err(failure)?;
                for setting in SETTINGS {
                    session.plain(&Sql::from(setting)).await.map_err(failure)?;
                }
                let number = number(&mut session, "SELECT CONNECTION_ID()").await?;
                Ok((Box::new(session), number))
            }
        }
    }
}

impl fmt::Debug for Driver {
    /// Without the options, which have the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}

#[cfg(any(feature = "mysql", feature = "postgres"))]
async fn number(session: &mut dyn Session, sql: &str) -> Result<Option<i64>, Failure> {
    let step = Step::rows(&Sql::from(sql), Vec::new(), &[Column::Int]);
    Ok(session.step(&step).await.map_err(failure)?.number())
}

#[cfg(feature = "sqlite")]
fn sqlite(
    file: Option<&std::path::Path>,
    options: &SqlOptions,
) -> sqlx::sqlite::SqliteConnectOptions {
    use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
    let made = SqliteConnectOptions::new()
        // Waiting is done where other work of this process can go on.
        .busy_timeout(std::time::Duration::from_millis(20))
        .row_buffer_size(1024)
        .statement_cache_capacity(200)
        .synchronous(match options.synchronous {
            Synchronous::Full => SqliteSynchronous::Full,
            Synchronous::Normal => SqliteSynchronous::Normal,
        });
    match file {
        None => made.in_memory(true),
        Some(file) => {
            made.filename(file).create_if_missing(true).journal_mode(SqliteJournalMode::Wal)
        }
    }
}

#[cfg(feature = "postgres")]
fn postgres(server: &Server, params: &ConnectParams) -> Result<sqlx::postgres::PgConnectOptions> {
    use sqlx::postgres::{PgConnectOptions, PgSslMode};
    let mut made = PgConnectOptions::new_without_pgpass()
        .host(&server.host)
        .port(server.port)
        .database(&server.database)
        .ssl_mode(PgSslMode::Disable);
    if let Some(user) = params.url.username() {
        made = made.username(user);
    }
    if let Some(password) = params.url.password() {
        made = made.password(password.expose());
    }
    if let Some(name) = &params.client_name {
        made = made.application_name(name);
    }
    if let Some(tls) = tls(params)? {
        made = made.ssl_mode(match tls.verify {
            Verify::Full => PgSslMode::VerifyFull,
            Verify::NoHostname => PgSslMode::VerifyCa,
            Verify::None => PgSslMode::Require,
        });
        if let Some(file) = &tls.ca_certs {
            made = made.ssl_root_cert(file);
        }
        if let Some(file) = &tls.certfile {
            made = made.ssl_client_cert(file).ssl_client_key(tls.keyfile.as_ref().unwrap_or(file));
        }
    }
    Ok(made)
}

#[cfg(feature = "mysql")]
fn mysql(server: &Server, params: &ConnectParams) -> Result<sqlx::mysql::MySqlConnectOptions> {
    use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
    let mut made = MySqlConnectOptions::new()
        .host(&server.host)
        .port(server.port)
        .database(&server.database)
        .ssl_mode(MySqlSslMode::Disabled)
        .statement_cache_capacity(200);
    if let Some(user) = params.url.username() {
        made = made.username(user);
    }
    if let Some(password) = params.url.password() {
        made = made.password(password.expose());
    }
    if let Some(tls) = tls(params)? {
        made = made.ssl_mode(match tls.verify {
            Verify::Full => MySqlSslMode::VerifyIdentity,
            Verify::NoHostname => MySqlSslMode::VerifyCa,
            Verify::None => MySqlSslMode::Required,
        });
        if let Some(file) = &tls.ca_certs {
            made = made.ssl_ca(file);
        }
        if let Some(file) = &tls.certfile {
            made = made.ssl_client_cert(file).ssl_client_key(tls.keyfile.as_ref().unwrap_or(file));
        }
    }
    Ok(made)
}

/// The TLS options, as far as sqlx has them.
#[cfg(any(feature = "mysql", feature = "postgres"))]
fn tls(params: &ConnectParams) -> Result<Option<TlsOptions>> {
    let tls = params.tls(&[])?;
    if tls.as_ref().is_some_and(|tls| tls.server_name.is_some()) {
        return Err(Error::new(
            kombu_core::ErrorKind::Unsupported,
            "option ssl_server_hostname is not there for databases: the certificate must have the \
             URL's host",
        ));
    }
    Ok(tls)
}

/// No gaps between rows are locked, and nothing is waited for that others have locked: it is done
/// again a little later. Who does not wait takes part in no deadlock, which Kombu's transactions
/// would be the victims of. (MySQL knows no shorter wait than a second.)
#[cfg(feature = "mysql")]
const SETTINGS: [&str; 2] = [
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET SESSION innodb_lock_wait_timeout = 0",
];
