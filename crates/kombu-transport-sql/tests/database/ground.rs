//! Where the cases run: the database, connections to it, and waiting with a limit.

use std::env;
use std::path::PathBuf;

use kombu_conformance::kit::{Peer, Result, variable};
use kombu_core::{Connection, ConnectionBuilder, Queue};
use kombu_transport_sql::SqlTransport;
use uuid::Uuid;

/// Which database it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Database {
    MySql,
    Postgres,
    Sqlite,
}

/// The database's URL.
pub(crate) fn bare_url() -> String {
    variable("KOMBU_TEST_SQL_URL").unwrap_or_else(|| {
        let made = std::fs::create_dir_all(folder());
        made.expect("the folder of temporary files can be written to");
        format!("sqla+sqlite:///{}", folder().join("kombu.db").display())
    })
}

/// The database's URL with options.
pub(crate) fn url(options: &str) -> String {
    let mut url = bare_url();
    // Nothing cuts the power here, and a busy disk would only take its time.
    let file = (database() == Database::Sqlite).then_some("synchronous=normal");
    for option in file.into_iter().chain([options]).filter(|option| !option.is_empty()) {
        url.push(if url.contains('?') { '&' } else { '?' });
        url.push_str(option);
    }
    url
}

pub(crate) fn database() -> Database {
    match bare_url().split(['+', ':']).nth(1) {
        Some("postgresql") => Database::Postgres,
        Some("mysql") => Database::MySql,
        _ => Database::Sqlite,
    }
}

/// A folder that goes with this process.
pub(crate) fn folder() -> PathBuf {
    env::temp_dir().join(format!("kombu-sql-tests-{}", std::process::id()))
}

/// Removes it.
pub(crate) fn clear() {
    let _none = std::fs::remove_dir_all(folder());
}

/// A queue that no other case has.
pub(crate) fn queue(name: &str) -> Queue {
    Queue::new(format!("ks-{name}-{}", Uuid::new_v4().simple()))
}

/// A connection to come, of a transport of its own, so that it shares nothing.
pub(crate) fn builder(options: &str) -> ConnectionBuilder {
    builder_for(&url(options))
}

/// The same to a URL.
pub(crate) fn builder_for(url: &str) -> ConnectionBuilder {
    Connection::builder(url).transport(SqlTransport::new())
}

/// A connection whose messages come back a second after its end.
pub(crate) async fn connect() -> kombu_core::Result<Connection> {
    builder("visibility_timeout=1").connect().await
}

/// A Python process on the same tables.
pub(crate) fn python() -> Result<Peer> {
    Peer::start(&bare_url(), &[])
}
