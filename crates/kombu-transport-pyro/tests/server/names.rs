//! Finding the broker, and not finding it.

use kombu_conformance::kit::{Outcome, PYTHON, next, variable};
use kombu_conformance::own_cases;
use kombu_core::{Connection, Error, ErrorKind, RetryPolicy};
use tokio::time::{Duration, Instant};

use crate::ground::{self, CONTROL, builder, daemon, queue, url};
use crate::own::Daemon;

/// The variable with the URL of a broker that signs its frames.
const HMAC_URL: &str = "KOMBU_TEST_PYRO_HMAC_URL";

own_cases! {
    beside a_name_that_nobody_registered_says_so [];
    beside an_object_of_another_kind_says_so [];
    beside a_key_that_differs_says_so [HMAC_URL];
    beside keys_of_name_server_and_daemon_are_apart [HMAC_URL];
    beside a_daemon_that_takes_no_json_says_so [PYTHON];
    beside a_daemon_without_a_free_thread_says_so [PYTHON];
    alone a_frozen_daemon_is_told_from_its_name_server [CONTROL];
    alone a_dead_daemon_is_told_from_its_name_server [CONTROL];
}

/// The error of connecting once.
async fn error(url: &str) -> Error {
    let once = builder(url).retry(RetryPolicy::once());
    once.connect().await.expect_err("nobody can be connected to")
}

/// A URL with another name.
fn named(name: &str) -> String {
    let url = url("");
    let (before, _name) = url.rsplit_once('/').unwrap_or_default();
    format!("{before}/{name}")
}

async fn a_name_that_nobody_registered_says_so() -> Outcome {
    let error = error(&named("nobody")).await;
    // It may come.
    assert!(error.is_recoverable(), "{error:?}");
    let shown = error.to_string();
    for part in ["\"nobody\"", "python -m kombu.transport.pyro", "name_server=127.0.0.1:"] {
        assert!(shown.contains(part), "{part:?} is not in {shown}");
    }
    Ok(())
}

async fn an_object_of_another_kind_says_so() -> Outcome {
    let error = error(&named("Pyro.NameServer")).await;
    assert!(!error.is_recoverable(), "{error:?}");
    assert!(error.to_string().contains("lacks the methods get_queue_names"), "{error}");
    Ok(())
}

async fn a_key_that_differs_says_so() -> Outcome {
    let signed = variable(HMAC_URL).unwrap_or_default();
    let (scheme, address) = signed.split_once("://").ok_or("no URL")?;
    let (_login, address) = address.split_once('@').ok_or("no key in the URL")?;
    let bare = format!("{scheme}://{address}");
    for url in [
        bare.clone(),
        format!("{bare}?hmac_key=hunter2"),
        format!("{signed}?hmac_key=hunter2"),
        format!("{signed}?name_server_hmac_key=hunter2"),
        url("hmac_key=hunter2"),
    ] {
        let error = error(&url).await;
        assert_eq!(error.kind(), ErrorKind::AccessRefused, "{error:?}");
        assert!(!error.is_recoverable(), "{error:?}");
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("HMAC") || shown.contains("hmac_key"), "{shown}");
        assert!(!shown.contains("hunter2") && !shown.contains("pyropw"), "{shown}");
    }
    Ok(())
}

async fn keys_of_name_server_and_daemon_are_apart() -> Outcome {
    let signed = variable(HMAC_URL).unwrap_or_default();
    // The name server's key is right, the daemon's is not.
    let error = error(&format!("{signed}?hmac_key=hunter2&name_server_hmac_key=pyropw")).await;
    assert_eq!(error.kind(), ErrorKind::AccessRefused, "{error:?}");
    assert!(error.to_string().contains("daemon="), "{error}");
    let both = format!("{signed}?name_server_hmac_key=pyropw");
    let connection: Connection = builder(&both).connect().await?;
    let queue = queue("signed");
    let mut consumer = connection.consumer(&queue).start().await?;
    connection.producer().await?.publish(&7).to_queue(&queue).await?;
    let delivery = next(&mut consumer).await?;
    assert_eq!(delivery.decode::<u64>()?, 7);
    delivery.ack().await?;
    consumer.close().await?;
    connection.delete_queue(queue.name()).await?;
    Ok(connection.close().await?)
}

async fn a_daemon_that_takes_no_json_says_so() -> Outcome {
    let daemon = Daemon::start(&[("PYRO_SERIALIZERS_ACCEPTED", "serpent")], None).await?;
    let error = error(&daemon.url).await;
    assert!(!error.is_recoverable(), "{error:?}");
    assert!(error.to_string().contains("SERIALIZERS_ACCEPTED must have json"), "{error}");
    Ok(())
}

async fn a_daemon_without_a_free_thread_says_so() -> Outcome {
    let few = [("PYRO_THREADPOOL_SIZE", "1"), ("PYRO_THREADPOOL_SIZE_MIN", "1")];
    let daemon = Daemon::start(&few, None).await?;
    let connection = builder(&daemon.url).connect().await?;
    let error = error(&daemon.url).await;
    assert!(error.is_recoverable(), "{error:?}");
    assert!(error.to_string().contains("THREADPOOL_SIZE"), "{error}");
    Ok(connection.close().await?)
}

async fn a_frozen_daemon_is_told_from_its_name_server() -> Outcome {
    daemon("pause").await?;
    let begun = Instant::now();
    let error = error(&url("connect_timeout=1")).await;
    let took = begun.elapsed();
    daemon("resume").await?;
    assert!(took < Duration::from_secs(5), "it took {took:?}");
    assert!(error.is_recoverable(), "{error:?}");
    assert!(error.to_string().contains("has not answered within 1s (daemon="), "{error}");
    Ok(ground::connect().await?.close().await?)
}

async fn a_dead_daemon_is_told_from_its_name_server() -> Outcome {
    daemon("kill").await?;
    let error = error(&url("")).await;
    daemon("start").await?;
    assert!(error.is_recoverable(), "{error:?}");
    for part in ["refused", "daemon=127.0.0.1:", "name=kombu.broker", "name_server=127.0.0.1:"] {
        assert!(error.to_string().contains(part), "{part:?} is not in {error}");
    }
    Ok(ground::connect().await?.close().await?)
}
