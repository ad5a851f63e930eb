//! From what drivers and databases report to [`Error`]; the only place that looks at either.

use kombu_core::{Error, ErrorKind, Scope};

/// What a failed statement means for the work that it was part of.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    pub(crate) class: Class,
}

/// What helps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Class {
    /// Doing all of it again, a little later: others were at it.
    Again,
    /// Nothing here.
    Lasting,
    /// Making the tables.
    NoTable,
    /// Looking up again what other tables have.
    Reference,
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

/// Maps an error of sqlx.
pub(crate) fn failure(error: sqlx::Error) -> Failure {
    let lasting = |error| Failure { error, class: Class::Lasting };
    match error {
        sqlx::Error::Database(reported) => {
            let (kind, scope, class) = judge(&*reported);
            let text = reported.message().to_owned();
            let mapped = Error::new(kind, explain(kind, text)).scoped(scope);
            Failure { error: mapped.caused_by(sqlx::Error::Database(reported)), class }
        }
        sqlx::Error::Io(cause) => lasting(Error::lost(cause.to_string()).caused_by(cause)),
        sqlx::Error::Tls(cause) => lasting(
            Error::new(ErrorKind::Tls, cause.to_string())
                .scoped(Scope::Connection)
                .caused_by(sqlx::Error::Tls(cause)),
        ),
        sqlx::Error::WorkerCrashed => lasting(Error::lost("the database's thread has ended")),
        sqlx::Error::Protocol(text) => {
            lasting(Error::new(ErrorKind::Protocol, text).scoped(Scope::Connection))
        }
        sqlx::Error::Configuration(cause) => {
            lasting(Error::new(ErrorKind::InvalidArgument, cause.to_string()))
        }
        other => lasting(Error::new(ErrorKind::Other, other.to_string()).caused_by(other)),
    }
}

type Judgement = (ErrorKind, Scope, Class);

fn explain(kind: ErrorKind, text: String) -> String {
    match kind {
        ErrorKind::NotFound => {
            format!("{text}; the tables are made when a connection is, if its user may")
        }
        _ => text,
    }
}

fn judge(error: &dyn sqlx::error::DatabaseError) -> Judgement {
    let _code = error.code();
    #[cfg(feature = "postgres")]
    if error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
        return postgres(&_code.unwrap_or_default());
    }
    #[cfg(feature = "mysql")]
    if let Some(error) = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        return mysql(error.number());
    }
    #[cfg(feature = "sqlite")]
    if error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
        let code = _code.and_then(|code| code.parse().ok()).unwrap_or_default();
        return sqlite(code, error.message());
    }
    (ErrorKind::Other, Scope::Local, Class::Lasting)
}

/// SQLite has one code for all that is wrong with a statement; only its text names the table.
#[cfg(feature = "sqlite")]
fn sqlite(code: i32, text: &str) -> Judgement {
    let (kind, class) = match code & 0xff {
        5 | 6 => (ErrorKind::Timeout, Class::Again),
        // Read-only, by rights or by how it is mounted.
        3 | 8 => (ErrorKind::AccessRefused, Class::Lasting),
        10 => (ErrorKind::Other, Class::Lasting),
        13 => (ErrorKind::Blocked, Class::Lasting),
        14 => (ErrorKind::NotFound, Class::Lasting),
        19 if code == 787 => (ErrorKind::NotFound, Class::Reference),
        11 | 26 => (ErrorKind::PreconditionFailed, Class::Lasting),
        1 if text.starts_with("no such table") => (ErrorKind::NotFound, Class::NoTable),
        _ => (ErrorKind::Other, Class::Lasting),
    };
    (kind, Scope::Local, class)
}

/// By SQLSTATE.
#[cfg(feature = "postgres")]
fn postgres(code: &str) -> Judgement {
    use ErrorKind as Kind;
    let lost = (Kind::ConnectionLost, Scope::Connection, Class::Lasting);
    match code {
        "28P01" | "28000" => (Kind::AccessRefused, Scope::Connection, Class::Lasting),
        "3D000" => (Kind::PreconditionFailed, Scope::Connection, Class::Lasting),
        "42501" => (Kind::AccessRefused, Scope::Local, Class::Lasting),
        "42P01" => (Kind::NotFound, Scope::Local, Class::NoTable),
        "23503" => (Kind::NotFound, Scope::Local, Class::Reference),
        // Serialization, deadlock, lock not available.
        "40001" | "40P01" | "55P03" => (Kind::Timeout, Scope::Local, Class::Again),
        // Out of disk or memory.
        "53100" | "53200" => (Kind::Blocked, Scope::Local, Class::Lasting),
        // Shutting down, starting up, a standby, too many connections.
        "57P01" | "57P02" | "57P03" | "57P05" | "25006" | "53300" => lost,
        _ if code.starts_with("08") => lost,
        _ if code.starts_with("22") => (Kind::PreconditionFailed, Scope::Local, Class::Lasting),
        _ => (Kind::Other, Scope::Local, Class::Lasting),
    }
}

/// By the number of the error.
#[cfg(feature = "mysql")]
fn mysql(number: u16) -> Judgement {
    use ErrorKind as Kind;
    match number {
        1045 | 1698 => (Kind::AccessRefused, Scope::Connection, Class::Lasting),
        1049 => (Kind::PreconditionFailed, Scope::Connection, Class::Lasting),
        1044 | 1142 | 1143 | 1227 | 1370 => (Kind::AccessRefused, Scope::Local, Class::Lasting),
        1146 => (Kind::NotFound, Scope::Local, Class::NoTable),
        1216 | 1452 => (Kind::NotFound, Scope::Local, Class::Reference),
        // Lock wait, deadlock, somebody changed the table.
        1205 | 1213 | 1020 | 1412 => (Kind::Timeout, Scope::Local, Class::Again),
        1021 | 1037 | 1041 | 1114 => (Kind::Blocked, Scope::Local, Class::Lasting),
        // Shutting down, too many connections, killed, read-only.
        1040 | 1053 | 1077 | 1152 | 1203 | 1290 | 1317 | 1836 | 1927 => {
            (Kind::ConnectionLost, Scope::Connection, Class::Lasting)
        }
        // Too long for the column or for the server.
        1153 | 1406 => (Kind::PreconditionFailed, Scope::Local, Class::Lasting),
        _ => (Kind::Other, Scope::Local, Class::Lasting),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "sqlite")]
    #[test]
    fn a_busy_file_is_tried_again_and_a_read_only_one_is_not() {
        assert_eq!(sqlite(5, "database is locked").2, Class::Again);
        assert_eq!(sqlite(517, "database is locked").2, Class::Again);
        assert_eq!(sqlite(8, "attempt to write").0, ErrorKind::AccessRefused);
        assert_eq!(sqlite(1, "no such table: kombu_queue").2, Class::NoTable);
        assert_eq!(sqlite(787, "FOREIGN KEY constraint failed").2, Class::Reference);
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn a_wrong_password_is_no_lost_link_and_a_shutdown_is() {
        assert_eq!(postgres("28P01").0, ErrorKind::AccessRefused);
        assert_eq!(postgres("57P01").0, ErrorKind::ConnectionLost);
        assert_eq!(postgres("40P01").2, Class::Again);
    }

    #[cfg(feature = "mysql")]
    #[test]
    fn a_deadlock_is_tried_again() {
        assert_eq!(mysql(1213).2, Class::Again);
        assert_eq!(mysql(1045).0, ErrorKind::AccessRefused);
    }
}
