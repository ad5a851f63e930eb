//! One connection of a driver, and what is sent through it: statements with bound arguments.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

/// The text of a statement: checked names of tables, and a place for each argument.
pub(crate) type Sql = Arc<str>;

/// A bound argument.
#[derive(Clone, Debug)]
pub(crate) enum Arg {
    Int(i64),
    /// Numbers in one argument, where [`Dialect::binds_lists`](crate::dialect::Dialect) says so.
    Ints(Vec<i64>),
    Text(String),
    Texts(Vec<String>),
}

impl From<i64> for Arg {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<&str> for Arg {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Arg {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// A statement with its arguments.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) sql: Sql,
    pub(crate) args: Vec<Arg>,
    /// What each row has; empty for a statement without rows.
    pub(crate) columns: &'static [Column],
}

impl Step {
    /// A statement without rows.
    pub(crate) fn new(sql: &Sql, args: Vec<Arg>) -> Self {
        Self { sql: Arc::clone(sql), args, columns: &[] }
    }

    /// A statement with rows.
    pub(crate) fn rows(sql: &Sql, args: Vec<Arg>, columns: &'static [Column]) -> Self {
        Self { sql: Arc::clone(sql), args, columns }
    }
}

/// What a column holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Column {
    Int,
    Text,
}

/// The value of a column; NULL is nought or the empty text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Cell {
    Int(i64),
    Text(Vec<u8>),
}

impl Cell {
    pub(crate) fn int(&self) -> i64 {
        match self {
            Self::Int(number) => *number,
            Self::Text(_) => 0,
        }
    }

    pub(crate) fn text(&self) -> String {
        match self {
            Self::Int(number) => number.to_string(),
            Self::Text(text) => String::from_utf8_lossy(text).into_owned(),
        }
    }
}

/// What came of a statement.
#[derive(Clone, Debug, Default)]
pub(crate) struct Output {
    pub(crate) rows: Vec<Vec<Cell>>,
    /// How many rows it changed, if it has no columns.
    pub(crate) affected: u64,
}

impl Output {
    /// The first number of the first row.
    pub(crate) fn number(&self) -> Option<i64> {
        Some(self.rows.first()?.first()?.int())
    }
}

/// A driver's connection.
#[async_trait]
pub(crate) trait Session: Debug + Send {
    /// Sends a statement with its arguments.
    async fn step(&mut self, step: &Step) -> Result<Output, sqlx::Error>;

    /// Sends text without arguments.
    async fn plain(&mut self, sql: &Sql) -> Result<(), sqlx::Error>;

    /// Says good-bye.
    async fn close(self: Box<Self>) -> Result<(), sqlx::Error>;
}

/// Implements [`Session`] for a connection of sqlx: how it takes lists, and how it gives numbers.
macro_rules! session {
    ($connection:ty, $row:ty, $bind_list:expr, $number:expr) => {
        #[async_trait]
        impl Session for $connection {
            async fn step(&mut self, step: &Step) -> Result<Output, sqlx::Error> {
                let mut query = sqlx::query(sqlx::AssertSqlSafe(Arc::clone(&step.sql)));
                for arg in &step.args {
                    query = match arg {
                        Arg::Int(number) => query.bind(*number),
                        Arg::Text(text) => query.bind(text.clone()),
                        list => $bind_list(query, list),
                    };
                }
                if step.columns.is_empty() {
                    let done = query.execute(&mut *self).await?;
                    return Ok(Output { rows: Vec::new(), affected: done.rows_affected() });
                }
                let rows = query.fetch_all(&mut *self).await?;
                let cells = |row: &$row| {
                    let cell = |(at, column): (usize, &Column)| {
                        Ok(match column {
                            Column::Int => Cell::Int($number(row, at)?.unwrap_or_default()),
                            Column::Text => {
                                let text: Option<Vec<u8>> = row.try_get_unchecked(at)?;
                                Cell::Text(text.unwrap_or_default())
                            }
                        })
                    };
                    step.columns
                        .iter()
                        .enumerate()
                        .map(cell)
                        .collect::<Result<Vec<_>, sqlx::Error>>()
                };
                let rows = rows.iter().map(cells).collect::<Result<_, _>>()?;
                Ok(Output { rows, affected: 0 })
            }

            async fn plain(&mut self, sql: &Sql) -> Result<(), sqlx::Error> {
                let text = sqlx::AssertSqlSafe(Arc::clone(sql));
                sqlx::raw_sql(text).execute(&mut *self).await.map(drop)
            }

            async fn close(self: Box<Self>) -> Result<(), sqlx::Error> {
                sqlx::Connection::close(*self).await
            }
        }
    };
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use sqlx::Row as _;
    use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};

    use super::{Arc, Arg, Cell, Column, Output, Session, Sql, Step, async_trait};

    type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, SqliteArguments>;

    /// A list is the text of a JSON array, which SQLite reads itself.
    fn bind<'q>(query: Query<'q>, list: &Arg) -> Query<'q> {
        let Arg::Ints(numbers) = list else { return query.bind(None::<i64>) };
        let mut text = String::with_capacity(2 + numbers.len() * 8);
        for number in numbers {
            text.push(if text.is_empty() { '[' } else { ',' });
            text.push_str(&number.to_string());
        }
        text.push_str(if text.is_empty() { "[]" } else { "]" });
        query.bind(text)
    }

    fn number(row: &SqliteRow, at: usize) -> Result<Option<i64>, sqlx::Error> {
        row.try_get_unchecked(at)
    }

    session!(SqliteConnection, SqliteRow, bind, number);
}

#[cfg(feature = "postgres")]
mod postgres {
    use sqlx::postgres::{PgArguments, PgConnection, PgRow};
    use sqlx::{Column as _, Row as _, TypeInfo as _};

    use super::{Arc, Arg, Cell, Column, Output, Session, Sql, Step, async_trait};

    type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, PgArguments>;

    fn bind<'q>(query: Query<'q>, list: &Arg) -> Query<'q> {
        match list {
            Arg::Ints(numbers) => query.bind(numbers.clone()),
            Arg::Texts(texts) => query.bind(texts.clone()),
            Arg::Int(_) | Arg::Text(_) => query,
        }
    }

    /// Whole numbers come in three sizes.
    fn number(row: &PgRow, at: usize) -> Result<Option<i64>, sqlx::Error> {
        Ok(match row.try_column(at)?.type_info().name() {
            "INT2" => row.try_get::<Option<i16>, _>(at)?.map(i64::from),
            "INT4" => row.try_get::<Option<i32>, _>(at)?.map(i64::from),
            _ => row.try_get(at)?,
        })
    }

    session!(PgConnection, PgRow, bind, number);
}

#[cfg(feature = "mysql")]
mod mysql {
    use sqlx::Row as _;
    use sqlx::mysql::{MySqlArguments, MySqlConnection, MySqlRow};

    use super::{Arc, Arg, Cell, Column, Output, Session, Sql, Step, async_trait};

    type Query<'q> = sqlx::query::Query<'q, sqlx::MySql, MySqlArguments>;

    /// There are no lists: statements have a place for each number.
    fn bind<'q>(query: Query<'q>, list: &Arg) -> Query<'q> {
        let Arg::Ints(numbers) = list else { return query };
        numbers.iter().fold(query, |query, number| query.bind(*number))
    }

    fn number(row: &MySqlRow, at: usize) -> Result<Option<i64>, sqlx::Error> {
        row.try_get_unchecked(at)
    }

    session!(MySqlConnection, MySqlRow, bind, number);
}
