//! The tables: Kombu's, as SQLAlchemy makes them, and this crate's own beside them.

use crate::dialect::Dialect;
use crate::names::Names;
use crate::session::Sql;
use crate::statements::fill;

/// What makes the tables, where they are missing. Each statement may be repeated.
pub(crate) fn create(dialect: Dialect, names: &Names) -> Vec<Sql> {
    let texts = match dialect {
        Dialect::Sqlite => sqlite(names),
        Dialect::Postgres => postgres(names),
        Dialect::MySql => mysql(names, false),
        Dialect::MariaDb => mysql(names, true),
    };
    texts.iter().map(|text| dialect.sql(&fill(text, names, dialect))).collect()
}

fn sqlite(names: &Names) -> Vec<String> {
    let mut all = vec![
        "CREATE TABLE IF NOT EXISTS {q} (
            id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
            name VARCHAR(200),
            UNIQUE (name))"
            .to_owned(),
        "CREATE TABLE IF NOT EXISTS {m} (
            id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
            visible BOOLEAN,
            timestamp DATETIME,
            payload TEXT NOT NULL,
            version SMALLINT NOT NULL,
            queue_id INTEGER,
            CONSTRAINT [FK_kombu_message_queue] FOREIGN KEY(queue_id) REFERENCES {q} (id))"
            .to_owned(),
    ];
    all.extend(kombu_indexes(names));
    all.push(ready_index(names, "(queue_id, id) WHERE visible = true"));
    all.extend(own(&Types {
        id: "INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT",
        name: "VARCHAR(255)",
        text: "TEXT",
        suffix: "",
    }));
    all.extend(own_indexes(names));
    all
}

fn postgres(names: &Names) -> Vec<String> {
    let mut all = vec![
        // Kombu and this crate in several processes: one after the other.
        "SELECT pg_advisory_xact_lock(7236021)".to_owned(),
        "CREATE SEQUENCE IF NOT EXISTS queue_id_sequence".to_owned(),
        "CREATE SEQUENCE IF NOT EXISTS message_id_sequence".to_owned(),
        "CREATE TABLE IF NOT EXISTS {q} (
            id INTEGER NOT NULL,
            name VARCHAR(200),
            PRIMARY KEY (id),
            UNIQUE (name))"
            .to_owned(),
        "CREATE TABLE IF NOT EXISTS {m} (
            id INTEGER NOT NULL,
            visible BOOLEAN,
            timestamp TIMESTAMP WITHOUT TIME ZONE,
            payload TEXT NOT NULL,
            version SMALLINT NOT NULL,
            queue_id INTEGER,
            PRIMARY KEY (id),
            CONSTRAINT [FK_kombu_message_queue] FOREIGN KEY(queue_id) REFERENCES {q} (id))"
            .to_owned(),
    ];
    all.extend(kombu_indexes(names));
    all.push(ready_index(names, "(queue_id, id) WHERE visible"));
    all.extend(own(&Types {
        id: "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        name: "VARCHAR(255)",
        text: "TEXT",
        suffix: "",
    }));
    all.extend(own_indexes(names));
    all
}

fn mysql(names: &Names, sequences: bool) -> Vec<String> {
    let id = if sequences { "INTEGER NOT NULL" } else { "INTEGER NOT NULL AUTO_INCREMENT" };
    let mut all = Vec::new();
    if sequences {
        for sequence in ["queue_id_sequence", "message_id_sequence"] {
            all.push(format!("CREATE SEQUENCE IF NOT EXISTS {sequence}"));
        }
    }
    let message = &names.message;
    // Kombu's name, which only one table of a database can have.
    let foreign_key = format!("FK_{message}_queue");
    all.push(format!(
        "CREATE TABLE IF NOT EXISTS {{q}} (
            id {id},
            name VARCHAR(200),
            PRIMARY KEY (id),
            UNIQUE (name)) ENGINE=InnoDB"
    ));
    // Python's TEXT ends at 64 KiB.
    all.push(format!(
        "CREATE TABLE IF NOT EXISTS {{m}} (
            id {id},
            visible BOOL,
            timestamp DATETIME,
            payload LONGTEXT NOT NULL,
            version SMALLINT NOT NULL,
            queue_id INTEGER,
            PRIMARY KEY (id),
            INDEX [ix_{message}_visible] (visible),
            INDEX [ix_{message}_timestamp] (timestamp),
            INDEX [ix_kombu_message_timestamp_id] (timestamp, id),
            CONSTRAINT [{foreign_key}] FOREIGN KEY(queue_id) REFERENCES {{q}} (id)
         ) ENGINE=InnoDB"
    ));
    all.extend(own(&Types {
        id: "BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY",
        name: "VARCHAR(255)",
        text: "LONGTEXT",
        suffix: " ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    }));
    all
}

/// The indexes that MySQL has no way to make where they are missing: table, name, columns.
///
/// That of waiting messages, which are those without a timestamp, begins with the timestamp: for
/// Kombu's query it has no use, so that Kombu locks no rows of it, which change with each message.
pub(crate) fn mysql_indexes(names: &Names) -> [(&str, String, &'static str); 4] {
    [
        (&names.message, format!("ix_{}_ready", names.message), "(timestamp, queue_id, id)"),
        (&names.rank, format!("ix_{}_first", names.rank), "(queue_id, priority, message_id)"),
        (&names.rank, format!("ix_{}_expires", names.rank), "(expires)"),
        (&names.binding, format!("ix_{}_exchange", names.binding), "(exchange)"),
    ]
}

/// The types of this crate's own tables.
struct Types {
    id: &'static str,
    name: &'static str,
    text: &'static str,
    suffix: &'static str,
}

fn own(types: &Types) -> Vec<String> {
    let Types { id, name, text, suffix } = types;
    vec![
        format!(
            "CREATE TABLE IF NOT EXISTS {{e}} (kind CHAR(1) NOT NULL, name {name} NOT NULL,
             properties {text} NOT NULL, version BIGINT NOT NULL, PRIMARY KEY (kind, name)){suffix}"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {{b}} (exchange {name} NOT NULL, routing_key {text} NOT NULL,
             kind CHAR(1) NOT NULL, destination {name} NOT NULL, arguments {text} NOT NULL){suffix}"
        ),
        format!("CREATE TABLE IF NOT EXISTS {{h}} (id {id}, expires BIGINT NOT NULL){suffix}"),
        format!(
            "CREATE TABLE IF NOT EXISTS {{r}} (message_id BIGINT NOT NULL PRIMARY KEY,
             queue_id BIGINT NOT NULL, priority SMALLINT NOT NULL, expires BIGINT NOT NULL){suffix}"
        ),
    ]
}

fn kombu_indexes(names: &Names) -> Vec<String> {
    let message = &names.message;
    vec![
        format!("CREATE INDEX IF NOT EXISTS [ix_{message}_visible] ON {{m}} (visible)"),
        format!("CREATE INDEX IF NOT EXISTS [ix_{message}_timestamp] ON {{m}} (timestamp)"),
        "CREATE INDEX IF NOT EXISTS [ix_kombu_message_timestamp_id] ON {m} (timestamp, id)"
            .to_owned(),
    ]
}

/// What finds the next message of a queue, whatever is in the table beside.
fn ready_index(names: &Names, on: &str) -> String {
    format!("CREATE INDEX IF NOT EXISTS [ix_{}_ready] ON {{m}} {on}", names.message)
}

fn own_indexes(names: &Names) -> Vec<String> {
    let (rank, binding) = (&names.rank, &names.binding);
    vec![
        format!(
            "CREATE INDEX IF NOT EXISTS [ix_{rank}_first] ON {{r}} \
             (queue_id, priority DESC, message_id)"
        ),
        format!("CREATE INDEX IF NOT EXISTS [ix_{rank}_expires] ON {{r}} (expires)"),
        format!("CREATE INDEX IF NOT EXISTS [ix_{binding}_exchange] ON {{b}} (exchange)"),
    ]
}
