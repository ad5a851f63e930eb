//! Folders, disks and neighbours that do not what they should.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kombu_conformance::kit::{Impossible, Outcome, fill, next, numbers, until};
use kombu_core::{Connection, ErrorKind, Exchange, Queue};
use kombu_transport_filesystem::FilesystemTransport;
use tokio::time::Duration;

use crate::ground::{Ground, cases, names};

cases! {
    a_missing_folder_says_so_and_which_option_names_it [];
    a_file_is_no_folder [];
    a_missing_parent_of_the_control_folder_says_so [];
    a_read_only_folder_says_so [];
    a_full_disk_says_so_and_loses_nothing [];
    what_is_no_message_is_set_aside_and_the_consumer_goes_on [];
    what_is_no_message_goes_to_the_processed_folder_if_there_is_one [];
    a_queue_name_cannot_leave_the_folder [];
    a_link_is_not_followed [];
    a_broken_file_of_bindings_says_which [];
    what_is_settled_after_its_queue_was_deleted_is_gone [];
    cleared_folders_are_made_again [];
    a_folder_that_comes_back_is_watched_again [];
}

async fn refused(url: String) -> String {
    let connected = Connection::builder(url).transport(FilesystemTransport::new()).connect().await;
    connected.expect_err("the folders are wrong").to_string()
}

async fn a_missing_folder_says_so_and_which_option_names_it(ground: &Ground) -> Outcome {
    for option in ["data_folder_in", "data_folder_out"] {
        let wrong = ground.url().replacen(&format!("{option}="), &format!("{option}=/no/such/"), 1);
        let text = refused(wrong).await;
        assert!(text.contains("there is no such folder; make it"), "{text}");
        assert!(text.contains(&format!("option={option} path=/no/such/")), "{text}");
    }
    let text =
        refused(format!("{}&store_processed=1&processed_folder=/no/such", ground.url())).await;
    assert!(text.contains("option=processed_folder"), "{text}");
    Ok(())
}

async fn a_file_is_no_folder(ground: &Ground) -> Outcome {
    let file = ground.root().join("file");
    fs::write(&file, "")?;
    let url = format!("filesystem://?data_folder_in={}", file.display());
    let text = refused(url).await;
    assert!(text.contains("this is no folder") && text.contains("option=data_folder_in"), "{text}");
    Ok(())
}

async fn a_missing_parent_of_the_control_folder_says_so(ground: &Ground) -> Outcome {
    let url = ground.url().replace("control_folder=", "control_folder=/no/such");
    let text = refused(url).await;
    assert!(text.contains("option=control_folder"), "{text}");
    Ok(())
}

/// A file system of its own in memory.
struct Mount(PathBuf);

impl Mount {
    fn new(folder: &Path, size: &str) -> Result<Self, Impossible> {
        let options = format!("size={size}");
        run("mount", &["-t", "tmpfs", "-o", &options, "tmpfs", &folder.display().to_string()])?;
        Ok(Self(folder.to_owned()))
    }

    fn make_read_only(&self) -> Result<(), Impossible> {
        run("mount", &["-o", "remount,ro", &self.0.display().to_string()])
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        drop(run("umount", &["--lazy", &self.0.display().to_string()]));
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<(), Impossible> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| Impossible::new(format!("{program}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&output.stderr);
    Err(Impossible::new(format!("{program} is not allowed: {}", reason.trim())))
}

async fn a_read_only_folder_says_so(ground: &Ground) -> Outcome {
    let mount = Mount::new(&ground.data(), "1m")?;
    let connection = ground.connect().await?;
    let queue = Queue::new("q");
    fill(&connection, &queue, 0..3).await?;
    mount.make_read_only()?;
    let producer = connection.producer().await?;
    let error = producer.publish(&1).to_queue(&queue).await.expect_err("it is read-only");
    assert_eq!(error.kind(), ErrorKind::AccessRefused, "{error}");
    assert!(error.to_string().contains("the file system is read-only"), "{error}");
    let error = connection.get("q").await.expect_err("it is read-only");
    assert_eq!(error.kind(), ErrorKind::AccessRefused, "{error}");
    let started = connection.consumer(&queue).start().await;
    let error = started.expect_err("it is read-only");
    assert_eq!(error.kind(), ErrorKind::AccessRefused, "{error}");
    assert_eq!(connection.size("q").await?, 3, "looking is allowed");
    Ok(connection.close().await?)
}

async fn a_full_disk_says_so_and_loses_nothing(ground: &Ground) -> Outcome {
    let _mount = Mount::new(&ground.data(), "256k")?;
    let connection = ground.connect().await?;
    let queue = Queue::new("q");
    let producer = connection.producer().await?;
    let mut stored = Vec::new();
    let text = "x".repeat(10_000);
    let error = loop {
        let body = (stored.len(), &text);
        let published =
            producer.publish(&body).to_queue(&queue).timeout(Duration::from_millis(300));
        match published.await {
            Ok(()) => stored.push(body.0),
            Err(error) => break error,
        }
    };
    assert!(!stored.is_empty());
    assert!(error.to_string().contains("the disk is full"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Blocked, "{error}");
    // What there is can be consumed, and then there is room again.
    let mut consumer = connection.consumer(&queue).start().await?;
    let mut came = Vec::new();
    while came.len() < stored.len() {
        let delivery = next(&mut consumer).await?;
        came.push(delivery.decode::<(usize, String)>()?.0);
        delivery.ack_confirmed().await?;
    }
    assert_eq!(came, stored);
    producer.publish(&(1000, "room")).to_queue(&queue).await?;
    assert_eq!(next(&mut consumer).await?.decode::<(usize, String)>()?.0, 1000);
    assert_eq!(ground.beneath(".corrupt"), Vec::<PathBuf>::new(), "half a message");
    assert_eq!(ground.beneath(".drafts"), Vec::<PathBuf>::new());
    Ok(connection.close().await?)
}

/// Files that are no messages, before one that is.
async fn rubbish(ground: &Ground, connection: &Connection, queue: &Queue) -> Outcome {
    for (number, content) in ["", "no JSON", "{\"body\": \"", "[1]"].iter().enumerate() {
        fs::write(ground.data().join(format!("{}_x.q.msg", number + 1)), content)?;
    }
    fill(connection, queue, [7]).await
}

async fn what_is_no_message_is_set_aside_and_the_consumer_goes_on(ground: &Ground) -> Outcome {
    let connection = ground.connect().await?;
    let queue = Queue::new("q");
    rubbish(ground, &connection, &queue).await?;
    let mut consumer = connection.consumer(&queue).prefetch(1).start().await?;
    let first = next(&mut consumer).await?;
    assert_eq!(first.decode::<u64>()?, 7, "nobody waits for what may be half written");
    first.ack().await?;
    for _ in 0..4 {
        let delivery = next(&mut consumer).await?;
        let error = delivery.decode::<u64>().expect_err("it is no message");
        let reason = delivery.headers().get("x-kombu-broken").and_then(|text| text.as_str());
        let reason = reason.expect("the delivery says why").to_owned();
        assert!(reason.contains(".corrupt/"), "{reason} {error}");
        // Whatever is done with it, it does not come again.
        delivery.requeue().await?;
    }
    fill(&connection, &queue, [8]).await?;
    assert_eq!(numbers(&mut consumer, 1).await?, [8]);
    let aside = ["1_x.q.msg", "2_x.q.msg", "3_x.q.msg", "4_x.q.msg"];
    assert_eq!(names(&ground.data().join(".corrupt")), aside);
    assert_eq!(fs::read(ground.data().join(".corrupt/2_x.q.msg"))?, b"no JSON");
    assert_eq!(ground.messages(), Vec::<String>::new());
    Ok(connection.close().await?)
}

async fn what_is_no_message_goes_to_the_processed_folder_if_there_is_one(
    ground: &Ground,
) -> Outcome {
    let processed = ground.root().join("processed");
    fs::create_dir(&processed)?;
    let connection = ground
        .builder()
        .option("store_processed", true)
        .option("processed_folder", processed.display().to_string())
        .connect()
        .await?;
    let queue = Queue::new("q");
    rubbish(ground, &connection, &queue).await?;
    let mut consumer = connection.consumer(&queue).start().await?;
    for _ in 0..5 {
        next(&mut consumer).await?.ack_confirmed().await?;
    }
    assert_eq!(names(&processed).len(), 5);
    Ok(connection.close().await?)
}

async fn a_queue_name_cannot_leave_the_folder(ground: &Ground) -> Outcome {
    let connection = ground.connect().await?;
    let producer = connection.producer().await?;
    for name in ["../evil", "a/b", "/etc/evil", "nul\0"] {
        let error = connection.declare_queue(&Queue::new(name)).await.expect_err(name);
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        let error = producer.publish(&1).to("", name).await.expect_err(name);
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        assert!(error.to_string().contains("the name of a file cannot have"), "{error}");
        assert!(connection.get(name).await.is_err(), "{name}");
        assert_eq!(connection.delete_queue(name).await?, 0);
    }
    // Nor by a table that somebody else wrote.
    fs::write(ground.control().join("e.exchange"), r#"[["k", "", "../../evil"]]"#)?;
    let error = producer.publish(&1).to("e", "k").await.expect_err("it leads outside");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    assert_eq!(names(ground.root()), ["control", "data"]);
    let error = connection.declare_exchange(&Exchange::direct("../e")).await.expect_err("outside");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    Ok(connection.close().await?)
}

#[cfg(unix)]
async fn a_link_is_not_followed(ground: &Ground) -> Outcome {
    let connection = ground.connect().await?;
    let queue = Queue::new("q");
    let mut consumer = connection.consumer(&queue).start().await?;
    fill(&connection, &queue, [1]).await?;
    assert_eq!(numbers(&mut consumer, 1).await?, [1]);
    let secret = ground.root().join("secret");
    fs::write(&secret, "secret")?;
    let link = ground.root().join("link");
    std::os::unix::fs::symlink(&secret, &link)?;
    fs::rename(link, ground.data().join("1_x.q.msg"))?;
    let delivery = next(&mut consumer).await?;
    assert!(delivery.headers().contains("x-kombu-broken"));
    assert_eq!(delivery.message().body.len(), 0, "it shows what the link leads to");
    assert_eq!(fs::read(&secret)?, b"secret");
    Ok(connection.close().await?)
}

async fn a_broken_file_of_bindings_says_which(ground: &Ground) -> Outcome {
    let connection = ground.connect().await?;
    fs::write(ground.control().join("media.exchange"), "{}")?;
    let producer = connection.producer().await?;
    let error = producer.publish(&1).to("media", "k").await.expect_err("it cannot be read");
    let text = error.to_string();
    assert!(text.contains("[[routing key, pattern, queue], …]"), "{text}");
    assert!(text.contains("control/media.exchange"), "{text}");
    Ok(connection.close().await?)
}

async fn what_is_settled_after_its_queue_was_deleted_is_gone(ground: &Ground) -> Outcome {
    let (connection, other) = (ground.connect().await?, ground.connect().await?);
    let queue = Queue::new("q");
    fill(&connection, &queue, 0..3).await?;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(connection.get("q").await?.expect("three wait"));
    }
    assert_eq!(other.delete_queue("q").await?, 0, "none of them waits");
    held.remove(0).ack_confirmed().await?;
    held.remove(0).requeue().await?;
    // The folder of claims is another matter.
    fs::remove_dir_all(ground.data().join(".claimed"))?;
    let error = held.remove(0).ack_confirmed().await.expect_err("it was cleared away");
    assert_eq!(error.kind(), ErrorKind::StaleDelivery, "{error}");
    assert_eq!(ground.messages(), Vec::<String>::new());
    other.close().await?;
    Ok(connection.close().await?)
}

async fn cleared_folders_are_made_again(ground: &Ground) -> Outcome {
    let connection = ground.connect().await?;
    let queue = Queue::new("q");
    let mut consumer = connection.consumer(&queue).start().await?;
    fill(&connection, &queue, 0..10).await?;
    assert_eq!(numbers(&mut consumer, 10).await?.len(), 10);
    for folder in [".claimed", ".drafts"] {
        fs::remove_dir_all(ground.data().join(folder))?;
    }
    fill(&connection, &queue, 10..20).await?;
    assert_eq!(numbers(&mut consumer, 10).await?, (10..20).collect::<Vec<_>>());
    Ok(connection.close().await?)
}

async fn a_folder_that_comes_back_is_watched_again(ground: &Ground) -> Outcome {
    let connection = ground.connect().await?;
    let queue = Queue::new("q");
    let mut consumer = connection.consumer(&queue).start().await?;
    fill(&connection, &queue, [1]).await?;
    assert_eq!(numbers(&mut consumer, 1).await?, [1]);
    fs::rename(ground.data(), ground.root().join("old"))?;
    until("the connection to notice", async || connection.ping().await.is_err()).await;
    fs::create_dir(ground.data())?;
    for number in 2..5 {
        fill(&connection, &queue, [number]).await?;
        assert_eq!(numbers(&mut consumer, 1).await?, [number]);
    }
    Ok(connection.close().await?)
}
