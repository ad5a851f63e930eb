//! Opens a database: makes the tables that are missing, and learns what it needs to know.

use std::sync::Arc;

use kombu_core::transport::ServerInfo;
use kombu_core::{Error, ErrorKind, Result};
use uuid::Uuid;

use crate::core::{Core, Lanes, Made, offset};
use crate::dialect::Dialect;
use crate::error::{Class, Failure};
use crate::lane::Lane;
use crate::names::Names;
use crate::options::SqlOptions;
use crate::schema;
use crate::session::{Arg, Column, Output, Sql, Step};
use crate::shared::Registry;
use crate::stamp;
use crate::statements::{Statements, fill};

/// Opens the database behind some lanes.
pub(crate) async fn open(
    lanes: Lanes,
    dialect: Dialect,
    options: SqlOptions,
    registry: &Arc<Registry>,
) -> Result<Arc<Core>> {
    let names = Arc::new(options.names()?);
    let write = &lanes.write;
    let (dialect, server) = about(write, dialect).await?;
    let identity = match identity(write, dialect, &names).await {
        Ok(identity) => identity,
        Err(failure) if failure.class == Class::NoTable => {
            create(write, dialect, &names).await?;
            identity(write, dialect, &names).await?
        }
        Err(failure) => return Err(failure.into()),
    };
    let (sequences, longest) = columns(write, dialect, &names).await?;
    let statements = Statements::new(dialect, names, sequences);
    let clock = Step::rows(&statements.clock, Vec::new(), &[Column::Int]);
    let offset = offset(write.one(clock).await?.number().unwrap_or_default());
    let holder = enter(write, &statements, &options, offset).await?;
    let core = Core::new(Made {
        stamp: stamp::of(holder, dialect),
        statements,
        options,
        server,
        lanes,
        holder,
        longest,
        registry: Arc::clone(registry),
        identity: identity.clone(),
        offset,
    });
    for estate in registry.estates(&identity) {
        crate::upkeep::inherit(&core, &estate).await?;
        registry.settled(&identity, estate.holder);
    }
    Ok(Arc::new(core))
}

/// What the database is. Those that cannot pass over rows that others have locked are refused.
async fn about(lane: &Lane, dialect: Dialect) -> Result<(Dialect, ServerInfo)> {
    let ask = match dialect {
        Dialect::Sqlite => "SELECT sqlite_version()",
        Dialect::Postgres => "SELECT current_setting('server_version')",
        Dialect::MariaDb | Dialect::MySql => "SELECT VERSION()",
    };
    let step = Step::rows(&Sql::from(ask), Vec::new(), &[Column::Text]);
    let text = lane.one(step).await?;
    let text = text.rows.first().and_then(|row| Some(row.first()?.text())).unwrap_or_default();
    let (dialect, product, least) = match dialect {
        Dialect::Sqlite => (dialect, "SQLite", [3, 35, 0]),
        Dialect::Postgres => (dialect, "PostgreSQL", [12, 0, 0]),
        _ if text.contains("MariaDB") => (Dialect::MariaDb, "MariaDB", [10, 6, 0]),
        _ => (Dialect::MySql, "MySQL", [8, 0, 1]),
    };
    let version = text.split([' ', '-']).next().unwrap_or_default();
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
    let numbers: [u32; 3] = std::array::from_fn(|_| numbers.next().unwrap_or(0));
    if numbers < least {
        let [major, minor, patch] = least;
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("{product} {version} is too old; it must be {major}.{minor}.{patch} or later"),
        ));
    }
    Ok((dialect, ServerInfo::new(product, version)))
}

/// What names these tables; a look at each of them.
async fn identity(lane: &Lane, dialect: Dialect, names: &Names) -> Result<String, Failure> {
    let look = |text: &str, columns| {
        Step::rows(&dialect.sql(&fill(text, names, dialect)), Vec::new(), columns)
    };
    let steps = [
        look("SELECT [properties] FROM {e} WHERE [kind] = 'v'", &[Column::Text]),
        look("SELECT [id] FROM {q} WHERE [id] < 0", &[Column::Int]),
        look("SELECT [queue_id] FROM {m} WHERE [id] < 0", &[Column::Int]),
        look("SELECT [message_id] FROM {r} WHERE [message_id] < 0", &[Column::Int]),
        look("SELECT [id] FROM {h} WHERE [id] < 0", &[Column::Int]),
        look("SELECT [kind] FROM {b} WHERE [exchange] = ''", &[Column::Text]),
    ];
    let mut found = None;
    for step in steps {
        let output = lane.one(step).await?;
        if found.is_none() {
            found = Some(output.rows.first().and_then(|row| Some(row.first()?.text())));
        }
    }
    found.flatten().ok_or_else(|| Failure {
        error: Error::new(ErrorKind::NotFound, "the tables are not complete"),
        class: Class::NoTable,
    })
}

/// Makes what is missing. Others may do so at the same time, Kombu among them.
async fn create(lane: &Lane, dialect: Dialect, names: &Names) -> Result<()> {
    let mut tries = 0;
    loop {
        let made = create_once(lane, dialect, names).await;
        match made {
            Err(failure) if tries < CREATIONS && failure.error.kind() == ErrorKind::Other => {
                tracing::debug!(error = %failure.error, "tables were made by others meanwhile");
                tries += 1;
            }
            done => return done.map_err(|failure| failure.error.during("make the tables")),
        }
    }
}

async fn create_once(lane: &Lane, dialect: Dialect, names: &Names) -> Result<(), Failure> {
    let mut steps: Vec<Step> =
        schema::create(dialect, names).iter().map(|sql| Step::new(sql, Vec::new())).collect();
    if !dialect.is_mysql() {
        steps.push(mark(dialect, names));
        return lane.run(&steps).await.map(drop);
    }
    // Each statement is a transaction here: a lock keeps others of this crate away.
    let lock = |text: &str| Step::rows(&Sql::from(text), Vec::new(), &[Column::Int]);
    lane.one(lock("SELECT GET_LOCK('kombu_schema', 30)")).await?;
    let mut done = Ok(());
    for step in steps {
        done = done.and(lane.one(step).await.map(drop));
    }
    if done.is_ok() {
        done = mysql_rest(lane, dialect, names).await;
    }
    lane.one(lock("SELECT RELEASE_LOCK('kombu_schema')")).await?;
    done
}

/// Indexes that are missing, and the mark.
async fn mysql_rest(lane: &Lane, dialect: Dialect, names: &Names) -> Result<(), Failure> {
    for (table, index, columns) in schema::mysql_indexes(names) {
        let text = "SELECT COUNT(*) FROM information_schema.statistics WHERE \
                    table_schema = DATABASE() AND table_name = ? AND index_name = ?";
        let args = vec![Arg::from(table), Arg::from(index.as_str())];
        let step = Step::rows(&Sql::from(text), args, &[Column::Int]);
        if lane.one(step).await?.number() == Some(0) {
            let text = format!("CREATE INDEX [{index}] ON [{table}] {columns}");
            lane.one(Step::new(&dialect.sql(&text), Vec::new())).await?;
        }
    }
    lane.one(mark(dialect, names)).await.map(drop)
}

/// Gives the tables an identity and a version, unless they have them.
fn mark(dialect: Dialect, names: &Names) -> Step {
    let text = match dialect {
        Dialect::Postgres | Dialect::Sqlite => {
            "INSERT INTO {e} ([kind], [name], [properties], [version]) VALUES ('v', '', ?, 1) \
             ON CONFLICT DO NOTHING"
        }
        _ => {
            "INSERT IGNORE INTO {e} ([kind], [name], [properties], [version]) \
             VALUES ('v', '', ?, 1)"
        }
    };
    let identity = Uuid::new_v4().to_string();
    Step::new(&dialect.sql(&fill(text, names, dialect)), vec![identity.into()])
}

/// Whether ids come from sequences, and how long a message may be.
async fn columns(
    lane: &Lane,
    dialect: Dialect,
    names: &Names,
) -> Result<(bool, Option<u64>), Failure> {
    if !dialect.is_mysql() {
        return Ok((dialect == Dialect::Postgres, None));
    }
    let text = "SELECT COALESCE(SUM(extra LIKE '%auto_increment%'), 0), \
                COALESCE(MAX(CASE WHEN column_name = 'payload' THEN character_octet_length END), 0) \
                FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ?";
    let text = text.replace("COALESCE(", "CAST(COALESCE(").replace(", 0)", ", 0) AS SIGNED)");
    let args = vec![Arg::from(names.message.as_str())];
    let output = lane.one(Step::rows(&Sql::from(text), args, &[Column::Int, Column::Int])).await?;
    let row = output.rows.first().map(Vec::as_slice).unwrap_or_default();
    let [automatic, longest] = [0, 1].map(|at| row.get(at).map_or(0, crate::session::Cell::int));
    let longest = u64::try_from(longest).ok().filter(|longest| *longest > 0);
    Ok((dialect == Dialect::MariaDb && automatic == 0, longest))
}

/// Makes a holder, and returns its number.
async fn enter(
    lane: &Lane,
    statements: &Statements,
    options: &SqlOptions,
    offset: i64,
) -> Result<i64> {
    let timeout = i64::try_from(options.visibility_timeout.as_millis()).unwrap_or(i64::MAX);
    let expires = (crate::core::local_time() + offset).saturating_add(timeout);
    let args = vec![expires.into()];
    let number = if statements.dialect.is_mysql() {
        let last = Step::rows(&Sql::from("SELECT LAST_INSERT_ID()"), Vec::new(), &[Column::Int]);
        let outputs = lane.run(&[Step::new(&statements.add_holder, args), last]).await?;
        outputs.last().and_then(Output::number)
    } else {
        lane.one(Step::rows(&statements.add_holder, args, &[Column::Int])).await?.number()
    };
    number.ok_or_else(|| Error::new(ErrorKind::Protocol, "a new row has no number"))
}

/// How often tables are made that others make at the same time.
const CREATIONS: u32 = 5;
