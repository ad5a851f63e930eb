//! What only databases show: holders, kills, several processes on one file, rows that cannot be
//! read, Python on the same tables. On a SQLite file of its own, or on the database that
//! `KOMBU_TEST_SQL_URL` names.

mod case;
mod doomed;
mod faults;
mod ground;
mod kills;
mod peer;
mod processes;
mod raw;
mod rows;
mod waiting;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    if let Some(ended) = doomed::requested() {
        return ended;
    }
    let cases =
        [faults::cases(), kills::cases(), processes::cases(), rows::cases(), waiting::cases()];
    let trials = cases.into_iter().flatten().map(case::Case::trial).collect();
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(4);
    let conclusion = libtest_mimic::run(&arguments, trials);
    ground::clear();
    conclusion.exit_code()
}
