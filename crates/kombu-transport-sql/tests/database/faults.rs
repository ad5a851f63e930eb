//! What goes wrong is said clearly.

use std::fs;

use kombu_conformance::kit::{Outcome, fill, until};
use kombu_conformance::own_cases;
use kombu_core::{Connection, ErrorKind};
use kombu_transport_sql::SqlTransport;
use tokio::process::Command;

use crate::ground::{builder, connect, folder, queue, url};
use crate::raw;

own_cases! {
    beside a_table_that_goes_away_is_named [];
    beside a_missing_database_is_named ["server"];
    beside a_missing_folder_is_named ["sqlite"];
    beside a_file_that_is_no_database_is_named ["sqlite"];
    beside a_file_that_cannot_be_written_is_named ["sqlite"];
    beside an_operation_waits_for_a_locked_file_and_says_so ["sqlite"];
}

async fn a_table_that_goes_away_is_named() -> Outcome {
    let name = format!("t{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
    let options = format!("queue_tablename={name}_q&message_tablename={name}_m");
    let connection = builder(&options).connect().await?;
    let queue = queue("gone");
    fill(&connection, &queue, 0..1).await?;
    raw::run(&format!("DROP TABLE {name}_m")).await?;
    let producer = connection.producer().await?.retry(false);
    let error = producer.publish(&1).to("", queue.name()).await.expect_err("there is no table");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    assert!(error.to_string().contains(&format!("{name}_m")), "{error}");
    connection.close().await?;
    // The next connection makes it again.
    let connection = builder(&options).connect().await?;
    fill(&connection, &queue, 0..1).await?;
    connection.close().await?;
    for table in ["m_rank", "m_holder", "q_binding", "q_entity", "m", "q"] {
        raw::run(&format!("DROP TABLE {name}_{table}")).await?;
    }
    Ok(())
}

async fn a_missing_database_is_named() -> Outcome {
    let url = url("").replace("/kombu", "/no_such_database");
    let connecting = Connection::builder(url).transport(SqlTransport::new());
    let error = connecting.retry(kombu_core::RetryPolicy::once()).connect().await;
    let error = error.expect_err("there is no such database");
    assert!(error.to_string().contains("no_such_database"), "{error}");
    assert!(!error.is_recoverable(), "{error:?}");
    assert!(!format!("{error:?}").contains("kombupw"), "{error:?}");
    Ok(())
}

/// Why one cannot connect to a file.
async fn refusal(file: &std::path::Path) -> kombu_core::Error {
    let url = format!("sqla+sqlite:///{}", file.display());
    let connecting = Connection::builder(url).transport(SqlTransport::new());
    let connected = connecting.retry(kombu_core::RetryPolicy::once()).connect().await;
    connected.expect_err("it is no database")
}

async fn a_missing_folder_is_named() -> Outcome {
    let file = folder().join("nowhere").join("f.db");
    let error = refusal(&file).await;
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    assert!(error.to_string().contains("nowhere/f.db"), "{error}");
    Ok(())
}

async fn a_file_that_is_no_database_is_named() -> Outcome {
    fs::create_dir_all(folder())?;
    let file = folder().join("letter.txt");
    fs::write(&file, "Dear database, ".repeat(100))?;
    let error = refusal(&file).await;
    assert_eq!(error.kind(), ErrorKind::PreconditionFailed, "{error:?}");
    assert!(error.to_string().contains("letter.txt"), "{error}");
    assert!(error.to_string().contains("not a database"), "{error}");
    Ok(())
}

/// A read-only file binds everyone but root, who may write all the same; a database that was made
/// to refuse writes binds root, too.
async fn a_file_that_cannot_be_written_is_named() -> Outcome {
    let connection = connect().await?;
    connection.close().await?;
    let file = folder().join("sealed.db");
    fs::create_dir_all(folder())?;
    let url = format!("sqla+sqlite:///{}", file.display());
    let transport = SqlTransport::new();
    let connection = Connection::builder(url.as_str()).transport(transport).connect().await?;
    connection.close().await?;
    let sealed = folder().join("sealed");
    fs::create_dir_all(&sealed)?;
    fs::copy(&file, sealed.join("f.db"))?;
    for path in [sealed.join("f.db"), sealed.clone()] {
        let mut rights = fs::metadata(&path)?.permissions();
        rights.set_readonly(true);
        fs::set_permissions(&path, rights)?;
    }
    let error = if fs::write(sealed.join("probe"), "").is_err() {
        refusal(&sealed.join("f.db")).await.to_string()
    } else {
        fs::remove_file(sealed.join("probe"))?;
        as_nobody(&sealed.join("f.db")).await?
    };
    assert!(error.contains("access refused"), "{error}");
    assert!(error.contains("sealed/f.db"), "{error}");
    #[expect(clippy::permissions_set_readonly_false, reason = "it is removed next")]
    for path in [sealed.clone(), sealed.join("f.db")] {
        let mut rights = fs::metadata(&path)?.permissions();
        rights.set_readonly(false);
        fs::set_permissions(&path, rights)?;
    }
    Ok(())
}

/// The error that a user without rights gets.
async fn as_nobody(
    file: &std::path::Path,
) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    // Where that user may look.
    let program = folder().join("probe-program");
    fs::copy(std::env::current_exe()?, &program)?;
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--"])
        .arg(&program)
        .args([
            "publish-and-end",
            &format!("sqla+sqlite:///{}", file.display()),
            "q",
            "0",
            "1",
            "1",
        ])
        .output()
        .await?;
    assert!(!output.status.success(), "nobody may write");
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

async fn an_operation_waits_for_a_locked_file_and_says_so() -> Outcome {
    let connection = builder("busy_timeout=0.5").connect().await?;
    let queue = queue("locked");
    fill(&connection, &queue, 0..1).await?;
    let lock = raw::lock_file().await?;
    let producer = connection.producer().await?.retry(false);
    let error = producer.publish(&1).to("", queue.name()).await.expect_err("it is locked");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    assert!(error.to_string().contains("locked"), "{error}");
    drop(lock);
    until("the lock to go", async || producer.publish(&1).to("", queue.name()).await.is_ok()).await;
    connection.delete_queue(queue.name()).await?;
    Ok(connection.close().await?)
}
