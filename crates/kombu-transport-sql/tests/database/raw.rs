//! The database without this crate: statements as an operator would type them.

use sqlx::{AssertSqlSafe, Connection as _};

use crate::ground::{Database, bare_url, database};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The URL as the drivers want it.
fn plain_url() -> String {
    let url = bare_url();
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let dialect = scheme.split('+').nth(1).unwrap_or_default();
    match database() {
        Database::Sqlite => format!(
            "sqlite://{}",
            rest.trim_start_matches('/')
                .split('?')
                .next()
                .map(|path| format!("/{path}"))
                .unwrap_or_default()
        ),
        Database::MySql | Database::Postgres => format!("{dialect}://{rest}"),
    }
}

macro_rules! on {
    ($connection:ty, $text:expr, $run:ident) => {{
        let mut connection = <$connection>::connect(&plain_url()).await?;
        let result =
            sqlx::query_scalar::<_, i64>(AssertSqlSafe($text)).$run(&mut connection).await?;
        connection.close().await?;
        result
    }};
}

/// Runs a statement.
pub(crate) async fn run(text: &str) -> Result<()> {
    macro_rules! execute {
        ($connection:ty) => {{
            let mut connection = <$connection>::connect(&plain_url()).await?;
            sqlx::raw_sql(AssertSqlSafe(text.to_owned())).execute(&mut connection).await?;
            connection.close().await?;
        }};
    }
    match database() {
        Database::MySql => {
            #[cfg(feature = "mysql")]
            execute!(sqlx::MySqlConnection);
        }
        Database::Postgres => {
            #[cfg(feature = "postgres")]
            execute!(sqlx::PgConnection);
        }
        Database::Sqlite => {
            #[cfg(feature = "sqlite")]
            execute!(sqlx::SqliteConnection);
        }
    }
    Ok(())
}

/// The number that a query gives.
pub(crate) async fn number(text: &str) -> Result<i64> {
    let text = text.to_owned();
    Ok(match database() {
        #[cfg(feature = "mysql")]
        Database::MySql => on!(sqlx::MySqlConnection, text, fetch_one),
        #[cfg(feature = "postgres")]
        Database::Postgres => on!(sqlx::PgConnection, text, fetch_one),
        #[cfg(feature = "sqlite")]
        Database::Sqlite => on!(sqlx::SqliteConnection, text, fetch_one),
        #[cfg(not(all(feature = "mysql", feature = "postgres", feature = "sqlite")))]
        other => return Err(format!("this build has no driver for {other:?}").into()),
    })
}

/// Keeps a SQLite file locked until the connection is dropped.
#[cfg(feature = "sqlite")]
pub(crate) async fn lock_file() -> Result<sqlx::SqliteConnection> {
    let mut connection = sqlx::SqliteConnection::connect(&plain_url()).await?;
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut connection).await?;
    Ok(connection)
}
