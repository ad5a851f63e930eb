//! From a URL to a database.

use std::path::PathBuf;

use kombu_core::{BrokerUrl, Error, ErrorKind, Result};

/// Which database a URL names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Address {
    /// MySQL or MariaDB.
    MySql(Server),
    Postgres(Server),
    /// A file, or none for a database in memory.
    Sqlite(Option<PathBuf>),
}

/// A server's address; user and password stay in the URL.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Server {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) database: String,
}

impl Address {
    /// Reads the part of a scheme that names SQLAlchemy's dialect, and what the URL says beside.
    ///
    /// # Errors
    ///
    /// `InvalidUrl` for what is no database here, and for a server's URL without a database.
    pub(crate) fn of(url: &BrokerUrl) -> Result<Self> {
        // SQLAlchemy's driver, such as psycopg2, is none of ours.
        let dialect = url.variant().map(|variant| variant.split('+').next().unwrap_or(variant));
        match dialect {
            Some("sqlite") => file(url),
            Some("postgresql" | "postgres") => Ok(Self::Postgres(server(url, 5432)?)),
            Some("mysql" | "mariadb") => Ok(Self::MySql(server(url, 3306)?)),
            Some(other) => {
                let known = KNOWN.iter().find(|(dialect, _)| *dialect == other);
                let what = known
                    .map_or_else(|| format!("dialect {other:?}"), |(_, name)| (*name).to_owned());
                Err(wrong(format!(
                    "{what} is not supported; there are sqla+sqlite://, sqla+postgresql:// and \
                     sqla+mysql://"
                )))
            }
            None => Err(wrong(format!(
                "{scheme}:// does not say which database; write {scheme}+sqlite:///file.db, \
                 {scheme}+postgresql://… or {scheme}+mysql://…",
                scheme = url.scheme()
            ))),
        }
    }

    /// The feature of this crate that has the driver.
    #[cfg(not(all(feature = "mysql", feature = "postgres", feature = "sqlite")))]
    pub(crate) fn feature(&self) -> &'static str {
        match self {
            Self::MySql(_) => "mysql",
            Self::Postgres(_) => "postgres",
            Self::Sqlite(_) => "sqlite",
        }
    }
}

fn file(url: &BrokerUrl) -> Result<Address> {
    if url.host().is_some() {
        return Err(wrong(
            "a SQLite URL has no host: write sqla+sqlite:///relative.db with three slashes, \
             sqla+sqlite:////absolute/path.db with four",
        ));
    }
    Ok(match url.vhost() {
        // As SQLAlchemy has it.
        None | Some("/" | ":memory:") => Address::Sqlite(None),
        Some(path) => Address::Sqlite(Some(path.into())),
    })
}

fn server(url: &BrokerUrl, default_port: u16) -> Result<Server> {
    if url.hosts().len() > 1 {
        return Err(wrong(
            "a database URL has one host; write alternates as URLs of their own, joined by `;`",
        ));
    }
    let database = url.vhost().filter(|name| *name != "/").ok_or_else(|| {
        wrong("the URL names no database; write it after the host, as in host:5432/database")
    })?;
    Ok(Server {
        host: url.host().unwrap_or("127.0.0.1").to_owned(),
        port: url.port().unwrap_or(default_port),
        database: database.to_owned(),
    })
}

fn wrong(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidUrl, message)
}

/// SQLAlchemy's dialects for which sqlx has no driver.
const KNOWN: &[(&str, &str)] = &[
    ("cockroachdb", "CockroachDB"),
    ("mssql", "SQL Server"),
    ("oracle", "Oracle"),
    ("redshift", "Redshift"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str) -> Result<Address> {
        Address::of(&BrokerUrl::parse(url)?)
    }

    #[test]
    fn files_are_named_as_sqlalchemy_names_them() {
        assert_eq!(address("sqla+sqlite:///f.db").unwrap(), Address::Sqlite(Some("f.db".into())));
        let absolute = Address::Sqlite(Some("/var/f g.db".into()));
        assert_eq!(address("sqlalchemy+sqlite:////var/f%20g.db").unwrap(), absolute);
        assert_eq!(
            address("sqla+sqlite+pysqlite:///f").unwrap(),
            Address::Sqlite(Some("f".into()))
        );
        assert_eq!(address("sqla+sqlite://").unwrap(), Address::Sqlite(None));
        assert_eq!(address("sqla+sqlite:///:memory:").unwrap(), Address::Sqlite(None));
    }

    #[test]
    fn drivers_of_python_do_not_matter() {
        let at =
            |host: &str, port| Server { host: host.to_owned(), port, database: "jobs".to_owned() };
        for url in ["sqla+postgresql://u:p@h/jobs", "sqla+postgresql+psycopg2://u:p@h/jobs"] {
            assert_eq!(address(url).unwrap(), Address::Postgres(at("h", 5432)));
        }
        for url in ["sqla+mysql+pymysql://u:p@h:1/jobs", "sqlalchemy+mariadb://h:1/jobs"] {
            assert_eq!(address(url).unwrap(), Address::MySql(at("h", 1)));
        }
    }

    #[test]
    fn what_is_no_database_here_is_refused() {
        for (url, says) in [
            ("sqla+oracle://h/x", "Oracle is not supported"),
            ("sqla+mssql+pyodbc://h/x", "SQL Server is not supported"),
            ("sqla+unheard://h/x", "\"unheard\" is not supported"),
            ("sqla://h/x", "sqla+sqlite:///"),
            ("sqla+sqlite://f.db", "three slashes"),
            ("sqla+postgresql://h", "names no database"),
            ("sqla+mysql://a,b/x", "one host"),
        ] {
            let error = address(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidUrl);
            assert!(error.to_string().contains(says), "{url}: {error}");
        }
    }
}
