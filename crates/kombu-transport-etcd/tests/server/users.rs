//! Who may use what, and how it is said.

use kombu_conformance::kit::{Outcome, variable};
use kombu_conformance::own_cases;
use kombu_core::{Connection, ErrorKind, RetryPolicy, Scope};

use crate::ground::{queue, url};
use crate::here;

own_cases! {
    beside a_wrong_password_is_refused [here::CLUSTER[0]];
    beside a_user_without_rights_is_told_so [here::CLUSTER[0]];
    beside keys_beyond_the_granted_prefix_are_refused [here::CLUSTER[0]];
    beside an_untrusted_certificate_is_refused ["KOMBU_TEST_ETCD_TLS_URL"];
    beside two_prefixes_do_not_meet [];
}

async fn connect(url: &str) -> kombu_core::Result<Connection> {
    Connection::builder(url).transport(here::transport()).retry(RetryPolicy::once()).connect().await
}

async fn a_wrong_password_is_refused() -> Outcome {
    let cluster = variable(here::CLUSTER[0]).unwrap_or_default();
    for url in [cluster.replace("alicepw", "hunter2"), cluster.replace("alice:alicepw@", "")] {
        let error = connect(&url).await.map(drop).expect_err("it is refused");
        assert_eq!(error.kind(), ErrorKind::AccessRefused, "{error}");
        assert!(!error.is_recoverable() && !format!("{error} {error:?}").contains("hunter2"));
    }
    Ok(())
}

/// A user who exists, and may use no key.
async fn a_user_without_rights_is_told_so() -> Outcome {
    let cluster = variable(here::CLUSTER[0]).unwrap_or_default();
    let error = connect(&cluster.replace("alice:alicepw", "nobody:nobodypw"))
        .await
        .map(drop)
        .expect_err("it is refused");
    assert_eq!(error.kind(), ErrorKind::AccessRefused, "{error}");
    assert!(error.to_string().contains("permission denied"), "{error}");
    Ok(())
}

async fn keys_beyond_the_granted_prefix_are_refused() -> Outcome {
    let cluster = variable(here::CLUSTER[0]).unwrap_or_default();
    let error =
        connect(&format!("{cluster}?prefix=other")).await.map(drop).expect_err("it is refused");
    assert_eq!(error.kind(), ErrorKind::AccessRefused, "{error}");
    let alice = connect(&cluster).await?;
    let queue = queue("granted");
    alice.declare_queue(&queue).await?;
    alice.delete_queue(queue.name()).await?;
    assert_eq!(error.scope(), Scope::Local);
    Ok(alice.close().await?)
}

async fn an_untrusted_certificate_is_refused() -> Outcome {
    let url = variable("KOMBU_TEST_ETCD_TLS_URL").unwrap_or_default();
    let (untrusting, _) = url.split_once('?').ok_or("no option")?;
    let error = connect(&format!("{untrusting}?ssl=1")).await.map(drop).expect_err("it is refused");
    assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
    Ok(())
}

async fn two_prefixes_do_not_meet() -> Outcome {
    let queue = queue("apart");
    let (one, other) = (connect(&url("prefix=one")).await?, connect(&url("prefix=other")).await?);
    one.declare_queue(&queue).await?;
    one.producer().await?.publish(&1).to_queue(&queue).await?;
    other.declare_queue(&queue).await?;
    assert_eq!((one.size(queue.name()).await?, other.size(queue.name()).await?), (1, 0));
    one.delete_queue(queue.name()).await?;
    other.delete_queue(queue.name()).await?;
    one.close().await?;
    Ok(other.close().await?)
}
