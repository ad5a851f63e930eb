//! What only databases show: holders, kills, several processes on one file, rows that cannot be
//! read, Python on the same tables. On a SQLite file of its own, or on the database that
//! `KOMBU_TEST_SQL_URL` names.

mod faults;
mod ground;
mod kills;
mod processes;
mod raw;
mod rows;
mod waiting;

use std::process::ExitCode;

use kombu_conformance::kit::{self, process};

use crate::ground::Database;

fn main() -> ExitCode {
    if let Some(ended) = process::work(ground::builder_for) {
        return ended;
    }
    let cases =
        [faults::cases(), kills::cases(), processes::cases(), rows::cases(), waiting::cases()];
    let ended = kit::run_where(&[], cases.into_iter().flatten(), |need| {
        let is_file = ground::database() == Database::Sqlite;
        match need {
            "sqlite" if !is_file => Some(Err("it is about files".to_owned())),
            "server" if is_file => Some(Err("it is about servers".to_owned())),
            "sqlite" | "server" => Some(Ok(())),
            _variable => None,
        }
    });
    ground::clear();
    ended
}
