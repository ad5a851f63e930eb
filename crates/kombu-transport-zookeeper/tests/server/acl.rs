//! Who may use what.

use kombu_conformance::kit::{Outcome, fill, next, variable};
use kombu_conformance::own_cases;
use kombu_core::{Connection, ErrorKind, Scope};
use kombu_transport_zookeeper::ZooKeeperTransport;

use crate::ground::{queue, url};

own_cases! {
    beside another_identity_is_refused_with_the_reason [DIGEST];
    beside a_queue_of_others_is_refused_and_nothing_else [];
    beside an_open_acl_lets_everybody_in [DIGEST];
}

/// The URL of the servers with a user and a virtual host of its own.
fn user_url(user: &str, vhost: &str, options: &str) -> String {
    let plain = url("");
    let (_, rest) = plain.split_once("://").unwrap_or_default();
    let host = rest.split('/').next().unwrap_or_default();
    let at = if user.is_empty() { "" } else { "@" };
    format!("zookeeper://{user}{at}{host}/{vhost}{options}")
}

async fn connect(url: &str) -> kombu_core::Result<Connection> {
    let once = kombu_core::RetryPolicy::once();
    Connection::builder(url).transport(ZooKeeperTransport::new()).retry(once).connect().await
}

async fn another_identity_is_refused_with_the_reason() -> Outcome {
    let digest = variable(DIGEST).unwrap_or_default();
    let owner = connect(&digest).await?;
    for intruder in [digest.replace("alicepw", "hunter2"), user_url("", "alice", "")] {
        let error = connect(&intruder).await.map(drop).expect_err("it is refused");
        assert_eq!(error.kind(), ErrorKind::AccessRefused, "{error}");
        assert!(!error.is_recoverable());
        let text = format!("{error} {error:?}");
        assert!(text.contains("ACL") && !text.contains("hunter2"), "{text}");
    }
    Ok(owner.close().await?)
}

/// A user who may use the virtual host, but not one of its queues.
async fn a_queue_of_others_is_refused_and_nothing_else() -> Outcome {
    let theirs = queue("theirs");
    let open = connect(&user_url("alice:alicepw", "mixed", "?acl=open")).await?;
    open.declare_queue(&queue("any")).await?;
    let private = connect(&user_url("alice:alicepw", "mixed", "")).await?;
    fill(&private, &theirs, 0..1).await?;
    let other = connect(&user_url("bob:bobpw", "mixed", "?acl=open")).await?;
    let producer = other.producer().await?;
    let error = producer.publish(&1).to("", theirs.name()).await.expect_err("it is refused");
    assert_eq!((error.kind(), error.scope()), (ErrorKind::AccessRefused, Scope::Local), "{error}");
    let own = queue("own");
    fill(&other, &own, 0..1).await?;
    other.get(own.name()).await?.ok_or("no message")?.ack_confirmed().await?;
    other.delete_queue(own.name()).await?;
    private.delete_queue(theirs.name()).await?;
    for connection in [other, private, open] {
        connection.close().await?;
    }
    Ok(())
}

async fn an_open_acl_lets_everybody_in() -> Outcome {
    let open = connect(&user_url("alice:alicepw", "open", "?acl=open")).await?;
    let queue = queue("open");
    fill(&open, &queue, 0..1).await?;
    let anybody = connect(&user_url("", "open", "")).await?;
    let mut consumer = anybody.consumer(&queue).start().await?;
    next(&mut consumer).await?.ack_confirmed().await?;
    consumer.close().await?;
    anybody.delete_queue(queue.name()).await?;
    anybody.close().await?;
    Ok(open.close().await?)
}

const DIGEST: &str = "KOMBU_TEST_ZOOKEEPER_DIGEST_URL";
