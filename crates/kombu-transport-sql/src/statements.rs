//! The statements about messages, queues and holders, for one database and its tables.

use std::sync::Arc;

use crate::dialect::Dialect;
use crate::names::Names;
use crate::session::{Arg, Column, Sql, Step};

/// The statements, with the names of the tables in them.
#[derive(Clone, Debug)]
pub(crate) struct Statements {
    pub(crate) dialect: Dialect,
    pub(crate) names: Arc<Names>,
    /// Whether ids come from sequences, as on PostgreSQL, or by themselves.
    sequences: bool,
    pub(crate) find_queue: Sql,
    pub(crate) add_queue: Sql,
    pub(crate) purge_waiting: Sql,
    pub(crate) purge_settled: Sql,
    pub(crate) purge_held: Sql,
    pub(crate) purge_ranks: Sql,
    pub(crate) remove_queue: Sql,
    pub(crate) size: Sql,
    pub(crate) probe: Sql,
    pub(crate) rank: Sql,
    pub(crate) expired: Sql,
    pub(crate) drop_expired: Sql,
    pub(crate) drop_stale_ranks: Sql,
    pub(crate) drop_settled: Sql,
    pub(crate) add_holder: Sql,
    pub(crate) find_holder: Sql,
    pub(crate) keep_holder: Sql,
    pub(crate) drop_holder: Sql,
    pub(crate) holders: Sql,
    pub(crate) stamps: Sql,
    pub(crate) give_back: Sql,
    pub(crate) give_back_unseen: Sql,
    pub(crate) clock: Sql,
    /// Tells other processes that queues have messages, where there is a way.
    pub(crate) notify: Sql,
    /// Takes messages and says which, in one statement, where there is one that can.
    pub(crate) claim: Sql,
    /// The two looks for messages, where taking needs more than one statement.
    pub(crate) look_first: Sql,
    pub(crate) look_rest: Sql,
}

/// What is known of a message that was looked for.
pub(crate) const TAKEN: &[Column] = &[Column::Int, Column::Int, Column::Int, Column::Text];

impl Statements {
    pub(crate) fn new(dialect: Dialect, names: Arc<Names>, sequences: bool) -> Self {
        let fill = |text: &str| dialect.sql(&fill(text, &names, dialect));
        let free = match dialect.is_mysql() {
            true => "{m}.[timestamp] IS NULL AND {m}.[visible] = true",
            false => "{m}.[visible] = true",
        };
        let mine = "{m}.[visible] IS NULL AND {m}.[timestamp] = {time}";
        let next_queue = next("queue_id_sequence", dialect);
        let add_queue = match dialect {
            Dialect::Sqlite => "INSERT INTO {q} ([name]) VALUES (?) ON CONFLICT DO NOTHING".into(),
            Dialect::Postgres => format!(
                "INSERT INTO {{q}} ([id], [name]) VALUES ({next_queue}, ?) ON CONFLICT DO NOTHING"
            ),
            _ if sequences => {
                format!("INSERT IGNORE INTO {{q}} ([id], [name]) VALUES ({next_queue}, ?)")
            }
            _ => "INSERT IGNORE INTO {q} ([name]) VALUES (?)".to_owned(),
        };
        let last = match dialect {
            Dialect::Sqlite => "last_insert_rowid()",
            Dialect::Postgres => "currval('message_id_sequence')",
            _ if sequences => "PREVIOUS VALUE FOR message_id_sequence",
            _ => "LAST_INSERT_ID()",
        };
        let clock = match dialect {
            Dialect::Sqlite => "SELECT 0",
            Dialect::Postgres => "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint",
            _ => "SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)",
        };
        let time_text = match dialect {
            Dialect::Sqlite => "[timestamp]",
            Dialect::Postgres => "CAST([timestamp] AS text)",
            _ => "CAST([timestamp] AS char)",
        };
        Self {
            find_queue: fill("SELECT [id] FROM {q} WHERE [name] = ?"),
            add_queue: fill(&add_queue),
            purge_waiting: fill(&format!("DELETE FROM {{m}} WHERE [queue_id] = ? AND {free}")),
            purge_settled: fill("DELETE FROM {m} WHERE [queue_id] = ? AND [visible] = false"),
            purge_held: fill("DELETE FROM {m} WHERE [queue_id] = ?"),
            purge_ranks: fill("DELETE FROM {r} WHERE [queue_id] = ?"),
            remove_queue: fill("DELETE FROM {q} WHERE [id] = ?"),
            size: fill(&format!(
                "SELECT COUNT(*) FROM {{m}} WHERE [queue_id] = ? AND {free} AND NOT EXISTS \
                 (SELECT 1 FROM {{r}} WHERE {{r}}.[message_id] = {{m}}.[id] AND [expires] <= ?)"
            )),
            probe: fill(&format!("SELECT 1 FROM {{m}} WHERE [queue_id] = ? AND {free} LIMIT 1")),
            rank: fill(&format!(
                "INSERT INTO {{r}} ([message_id], [queue_id], [priority], [expires]) \
                 VALUES ({last}, ?, ?, ?)"
            )),
            expired: fill("SELECT 1 FROM {r} WHERE [expires] <= ? LIMIT 1"),
            drop_expired: fill(&format!(
                "DELETE FROM {{m}} WHERE {free} AND [id] IN \
                 (SELECT [message_id] FROM {{r}} WHERE [expires] <= ?)"
            )),
            drop_stale_ranks: fill(
                "DELETE FROM {r} WHERE NOT EXISTS (SELECT 1 FROM {m} \
                 WHERE {m}.[id] = {r}.[message_id] AND ([visible] = true OR [visible] IS NULL))",
            ),
            drop_settled: fill("DELETE FROM {m} WHERE [visible] = false AND [timestamp] < {time}"),
            add_holder: fill(match dialect {
                Dialect::Postgres | Dialect::Sqlite => {
                    "INSERT INTO {h} ([expires]) VALUES (?) RETURNING [id]"
                }
                _ => "INSERT INTO {h} ([expires]) VALUES (?)",
            }),
            find_holder: fill("SELECT [id] FROM {h} WHERE [id] = ?"),
            keep_holder: fill("UPDATE {h} SET [expires] = ? WHERE [id] = ?"),
            drop_holder: fill("DELETE FROM {h} WHERE [id] = ?"),
            holders: fill("SELECT [id], [expires] FROM {h}"),
            stamps: fill(&format!(
                "SELECT DISTINCT {time_text} FROM {{m}} WHERE [visible] IS NULL"
            )),
            give_back: fill(&format!(
                "UPDATE {{m}}{{by_time}} SET [visible] = true, [timestamp] = NULL, [version] = {MORE} \
                 WHERE {mine}"
            )),
            give_back_unseen: fill(&format!(
                "UPDATE {{m}}{{by_time}} SET [visible] = true, [timestamp] = NULL, \
                 [version] = [version] - 1 WHERE {mine}"
            )),
            clock: clock.into(),
            notify: dialect.sql(&format!(
                "SELECT pg_notify('{}', name) FROM unnest(?::text[]) AS name",
                names.message
            )),
            claim: fill(&claim(dialect)),
            look_first: fill(&format!(
                "SELECT {{m}}.[id], {{m}}.[version] + 1, {{r}}.[priority], {{m}}.[payload] \
                 FROM {{r}} JOIN {{m}} ON {{m}}.[id] = {{r}}.[message_id] \
                 WHERE {FIRST} LIMIT ?"
            )),
            look_rest: fill(&format!(
                "SELECT {{m}}.[id], {{m}}.[version] + 1, COALESCE((SELECT 0 FROM {{r}} WHERE \
                 {{r}}.[message_id] = {{m}}.[id]), -1), {{m}}.[payload] \
                 FROM {{m}} FORCE INDEX ([ix_{message}_ready]) \
                 WHERE {{m}}.[timestamp] IS NULL AND {REST} LIMIT ?",
                message = names.message,
            )),
            dialect,
            names,
            sequences,
        }
    }

    /// Stores messages of queues, in this order.
    pub(crate) fn put(&self, messages: Vec<(i64, String)>) -> Vec<Step> {
        if self.dialect == Dialect::Postgres {
            let text = "INSERT INTO {m} ([id], [visible], [payload], [version], [queue_id]) \
                        SELECT nextval('message_id_sequence'), true, p, 1, q \
                        FROM unnest(?::bigint[], ?::text[]) AS t(q, p)";
            let (queues, payloads) = messages.into_iter().unzip();
            return vec![Step::new(
                &self.fill(text),
                vec![Arg::Ints(queues), Arg::Texts(payloads)],
            )];
        }
        let mut steps = Vec::new();
        let mut messages = messages.into_iter().peekable();
        while messages.peek().is_some() {
            // Statements of few lengths, so that they are prepared once.
            let left = messages.len();
            let count = CHUNKS.into_iter().find(|chunk| *chunk <= left).unwrap_or(1);
            let args = messages
                .by_ref()
                .take(count)
                .flat_map(|(queue, payload)| [Arg::Text(payload), Arg::Int(queue)]);
            steps.push(Step::new(&self.put_many(count), args.collect()));
        }
        steps
    }

    fn put_many(&self, count: usize) -> Sql {
        let (columns, row) = if self.sequences {
            let next = next("message_id_sequence", self.dialect);
            ("[id], ", format!("({next}, true, ?, 1, ?),"))
        } else {
            ("", "(true, ?, 1, ?),".to_owned())
        };
        let rows = row.repeat(count);
        self.fill(&format!(
            "INSERT INTO {{m}} ({columns}[visible], [payload], [version], [queue_id]) VALUES {}",
            rows.trim_end_matches(',')
        ))
    }

    /// Forgets messages that a holder has, or keeps them invisible.
    pub(crate) fn settled(&self, ids: &[i64], stamp: &str, keep: Option<&str>) -> Step {
        let mine = "[visible] IS NULL AND [timestamp] = {time}";
        let (is_in, ids) = self.list(ids);
        match keep {
            None => {
                let from = if self.dialect.is_mysql() { "{m} FROM" } else { "FROM" };
                let text = format!("DELETE {from} {{m}}{{by_time}} WHERE [id] {is_in} AND {mine}");
                Step::new(&self.fill(&text), vec![ids, stamp.into()])
            }
            Some(now) => {
                let text = format!(
                    "UPDATE {{m}}{{by_time}} SET [visible] = false, [timestamp] = {{time}} \
                     WHERE [id] {is_in} AND {mine}"
                );
                Step::new(&self.fill(&text), vec![now.into(), ids, stamp.into()])
            }
        }
    }

    /// Makes messages that a holder has wait again.
    pub(crate) fn returned(&self, ids: &[i64], stamp: &str, delivered: bool) -> Step {
        let base = if delivered { &self.give_back } else { &self.give_back_unseen };
        let (is_in, list) = self.list(ids);
        // The stamp is its first argument; places of PostgreSQL are numbered.
        let is_in = if self.dialect == Dialect::Postgres { "= ANY($2)" } else { &is_in };
        let text = format!("{base} AND {} {is_in}", self.dialect.quote("id"));
        Step::new(&text.into(), vec![stamp.into(), list])
    }

    /// Locks those of some messages that wait still, and says how often each has changed.
    pub(crate) fn guard(&self, ids: &[i64]) -> Step {
        let (is_in, ids) = self.list(ids);
        let text = format!(
            "SELECT [id], [version] + 1 FROM {{m}}{{by_time}} \
             WHERE [timestamp] IS NULL AND [visible] = true AND [id] {is_in} FOR UPDATE"
        );
        Step::rows(&self.fill(&text), vec![ids], &[Column::Int, Column::Int])
    }

    /// Makes messages a holder's, after they were looked at and locked.
    pub(crate) fn taken(&self, ids: &[i64], stamp: &str) -> Step {
        let (is_in, ids) = self.list(ids);
        let text = format!(
            "UPDATE {{m}} SET [visible] = NULL, [timestamp] = {{time}}, [version] = {MORE} \
             WHERE [id] {is_in}"
        );
        Step::new(&self.fill(&text), vec![stamp.into(), ids])
    }

    /// Sets messages aside that cannot be read: invisible, and nobody's.
    pub(crate) fn set_aside(&self, ids: &[i64], stamp: &str, now: &str) -> Step {
        self.settled(ids, stamp, Some(now))
    }

    /// Forgets the ranks of messages.
    pub(crate) fn unranked(&self, ids: &[i64]) -> Step {
        let (is_in, ids) = self.list(ids);
        let text = format!("DELETE FROM {{r}} WHERE [message_id] {is_in}");
        Step::new(&self.fill(&text), vec![ids])
    }

    /// Ends a connection that the server calls so; the user must be the same.
    pub(crate) fn end_connection(&self, number: i64) -> Option<Step> {
        let text = match self.dialect {
            Dialect::Sqlite => return None,
            Dialect::Postgres => "SELECT pg_terminate_backend(?::integer)",
            Dialect::MariaDb | Dialect::MySql => "KILL ?",
        };
        Some(Step::new(&self.fill(text), vec![number.into()]))
    }

    /// `IN (…)` and its argument. Where each number has a place of its own, their count is rounded
    /// up by saying the last one again.
    fn list(&self, ids: &[i64]) -> (String, Arg) {
        let mut ids = ids.to_vec();
        if self.dialect.is_mysql()
            && let Some(last) = ids.last().copied()
        {
            ids.resize(ids.len().next_power_of_two(), last);
        }
        (self.dialect.is_in(ids.len()), Arg::Ints(ids))
    }

    pub(crate) fn fill(&self, text: &str) -> Sql {
        self.dialect.sql(&fill(text, &self.names, self.dialect))
    }
}

/// Writes the names of tables into a statement.
pub(crate) fn fill(text: &str, names: &Names, dialect: Dialect) -> String {
    [
        ("{q}", &names.queue),
        ("{m}", &names.message),
        ("{e}", &names.entity),
        ("{b}", &names.binding),
        ("{h}", &names.holder),
        ("{r}", &names.rank),
    ]
    .into_iter()
    .fold(
        text.replace("{time}", dialect.time()).replace("{by_time}", &by_time(names, dialect)),
        |text, (place, name)| text.replace(place, &format!("[{name}]")),
    )
}

/// Makes MySQL lock the rows of an index before those of the table, as Kombu's query does: in
/// another order, each might wait for the other.
fn by_time(names: &Names, dialect: Dialect) -> String {
    if dialect.is_mysql() {
        format!(" FORCE INDEX ([ix_{}_timestamp])", names.message)
    } else {
        String::new()
    }
}

/// The next number of a sequence.
fn next(sequence: &str, dialect: Dialect) -> String {
    match dialect {
        Dialect::Postgres => format!("nextval('{sequence}')"),
        _ => format!("NEXT VALUE FOR {sequence}"),
    }
}

/// Takes what comes first: messages with a priority, then the others, each in the order of their
/// ids. Arguments: queue, now, limit; limit, queue, now, limit; limit, stamp.
fn claim(dialect: Dialect) -> String {
    let (locked, materialized) = match dialect {
        Dialect::Postgres => (" FOR UPDATE OF {m} SKIP LOCKED", "AS MATERIALIZED"),
        _ => ("", "AS"),
    };
    let number = dialect.number();
    format!(
        "WITH first(id, priority) {materialized} (SELECT {{m}}.[id], {{r}}.[priority] \
         FROM {{r}} JOIN {{m}} ON {{m}}.[id] = {{r}}.[message_id] \
         WHERE {FIRST} LIMIT {number}{locked}), \
         rest(id, priority) {materialized} (SELECT {{m}}.[id], 0 FROM {{m}} \
         WHERE (SELECT COUNT(*) FROM first) < {number} AND {REST} LIMIT {number}{locked}), \
         chosen(id) {materialized} (SELECT id FROM (SELECT id, priority FROM first UNION ALL \
         SELECT id, priority FROM rest) AS both_parts ORDER BY priority DESC, id LIMIT {number}) \
         UPDATE {{m}} SET [visible] = NULL, [timestamp] = {{time}}, [version] = {MORE} \
         WHERE [id] IN (SELECT id FROM chosen) \
         RETURNING [id], [version], COALESCE((SELECT {{r}}.[priority] FROM {{r}} \
         WHERE {{r}}.[message_id] = {{m}}.[id]), -1), [payload]"
    )
}

/// Messages with a priority. Arguments: queue, now.
const FIRST: &str = "{r}.[queue_id] = ? AND {r}.[priority] > 0 AND {r}.[expires] > ? \
                     AND {m}.[visible] = true ORDER BY {r}.[priority] DESC, {r}.[message_id]";

/// Messages without. Arguments: queue, now.
const REST: &str = "{m}.[queue_id] = ? AND {m}.[visible] = true AND NOT EXISTS \
                    (SELECT 1 FROM {r} WHERE {r}.[message_id] = {m}.[id] \
                    AND ({r}.[priority] > 0 OR {r}.[expires] <= ?)) ORDER BY {m}.[id]";

/// One more change of a row. Above 2 a message that is taken was delivered before; the column has
/// 16 bits.
const MORE: &str = "CASE WHEN [version] < 32000 THEN [version] + 1 ELSE 4 END";

/// How many messages one statement stores, where each has places of its own.
const CHUNKS: [usize; 5] = [256, 64, 16, 4, 1];
