//! The behaviour suite: on a SQLite file of its own, or on the database that `KOMBU_TEST_SQL_URL`
//! names.

use std::env;
use std::process::ExitCode;

use kombu_conformance::Target;
use kombu_transport_sql::SqlTransport;

fn main() -> ExitCode {
    if env::var_os("KOMBU_TEST_SQL_URL").is_some_and(|url| !url.is_empty()) {
        return kombu_conformance::run(Target::from_env("SQL", SqlTransport::new()));
    }
    let folder = env::temp_dir().join(format!("kombu-sql-{}", std::process::id()));
    let made = std::fs::create_dir_all(&folder);
    // Nothing cuts the power here, and a busy disk would only take its time.
    let url =
        format!("sqla+sqlite:///{}?synchronous=normal", folder.join("conformance.db").display());
    let code = match made {
        Ok(()) => kombu_conformance::run(Target::new(url, SqlTransport::new())),
        Err(error) => panic!("cannot make {}: {error}", folder.display()),
    };
    let _left_for_the_system = std::fs::remove_dir_all(&folder);
    code
}
