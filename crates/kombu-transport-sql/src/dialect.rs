//! How the databases differ in what they are told.

use std::fmt::Write as _;

use crate::session::Sql;

/// A database's way of saying things.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Dialect {
    /// MariaDB, where SQLAlchemy uses sequences.
    MariaDb,
    MySql,
    Postgres,
    Sqlite,
}

impl Dialect {
    pub(crate) fn is_mysql(self) -> bool {
        matches!(self, Self::MariaDb | Self::MySql)
    }

    /// A name of a table or a column.
    pub(crate) fn quote(self, name: &str) -> String {
        if self.is_mysql() { format!("`{name}`") } else { format!("\"{name}\"") }
    }

    /// A statement as this database wants it: `?` stands for an argument, and names in brackets are
    /// quoted.
    pub(crate) fn sql(self, text: &str) -> Sql {
        let mut sql = String::with_capacity(text.len() + 32);
        let mut number = 0;
        let mut letters = text.chars().peekable();
        while let Some(letter) = letters.next() {
            match letter {
                // A list, as PostgreSQL writes the type.
                '[' if letters.peek() == Some(&']') => {
                    letters.next();
                    sql.push_str("[]");
                }
                '?' if self == Self::Postgres => {
                    number += 1;
                    let _infallible = write!(sql, "${number}");
                }
                '[' | ']' => sql.push(if self.is_mysql() { '`' } else { '"' }),
                other => sql.push(other),
            }
        }
        sql.into()
    }

    /// `IN (…)` for a list of so many numbers.
    pub(crate) fn is_in(self, count: usize) -> String {
        match self {
            Self::Sqlite => "IN (SELECT value FROM json_each(?))".to_owned(),
            Self::Postgres => "= ANY(?)".to_owned(),
            Self::MariaDb | Self::MySql => format!("IN ({})", places(count)),
        }
    }

    /// An argument that is a point in time.
    pub(crate) fn time(self) -> &'static str {
        if self == Self::Postgres { "?::timestamp" } else { "?" }
    }

    /// An argument that is a number.
    pub(crate) fn number(self) -> &'static str {
        if self == Self::Postgres { "?::bigint" } else { "?" }
    }

    pub(crate) fn begin(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::MariaDb | Self::MySql | Self::Postgres => "BEGIN",
        }
    }
}

/// Places for so many arguments.
fn places(count: usize) -> String {
    let mut places = "?,".repeat(count.max(1));
    places.pop();
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_names_are_written_as_the_database_reads_them() {
        let text = "SELECT [id] FROM [t] WHERE [a] = ? AND [b] = ?";
        let postgres = "SELECT \"id\" FROM \"t\" WHERE \"a\" = $1 AND \"b\" = $2";
        assert_eq!(&*Dialect::Postgres.sql("?::text[]"), "$1::text[]");
        assert_eq!(&*Dialect::Postgres.sql(text), postgres);
        let mysql = "SELECT `id` FROM `t` WHERE `a` = ? AND `b` = ?";
        assert_eq!(&*Dialect::MySql.sql(text), mysql);
        assert_eq!(Dialect::MariaDb.is_in(3), "IN (?,?,?)");
    }
}
