//! The commands that ask or clear away, and what concerns all.

use super::*;

#[tokio::test]
async fn purge_and_delete_print_how_many_went() {
    let broker = Broker::new();
    broker.publish("q", 3).await;
    assert_eq!(broker.kombu(&["purge", URL, "q"]).await.done(), "3\n");
    assert_eq!(broker.size("q").await, 0);
    broker.publish("q", 2).await;
    assert_eq!(broker.kombu(&["delete", URL, "q"]).await.done(), "2\n");
    assert_eq!(broker.kombu(&["delete", URL, "q"]).await.done(), "0\n");
    for command in ["size", "purge"] {
        let ran = broker.kombu(&[command, URL, "q"]).await;
        assert!(ran.failed().contains("not found"), "{}", ran.failed());
        assert!(ran.failed().contains("queue=q"), "{}", ran.failed());
    }
}

#[tokio::test]
async fn ping_prints_the_broker() {
    let broker = Broker::new();
    let ran = broker.kombu(&["ping", "memory://user:hunter2@host"]).await;
    let line = ran.done();
    assert_eq!(line.lines().count(), 1);
    assert!(line.contains(" at memory://user:**@host answered in "), "{line}");
}

#[tokio::test]
async fn options_reach_the_transport() {
    let broker = Broker::new();
    let ran = broker.kombu(&["ping", URL, "--option", "no_such_option=1"]).await;
    assert!(ran.failed().contains("no_such_option"), "{}", ran.failed());
}

#[tokio::test]
async fn an_interrupt_before_all_ends_a_command() {
    let broker = Broker::new();
    for arguments in [
        &["size", URL, "q"][..],
        &["ping", URL][..],
        &["consume", URL, "--queue", "q"][..],
        &["publish", URL, "--queue", "q", "1"][..],
        &["move", URL, "q", URL, "p"][..],
    ] {
        let (wish, interrupt) = Interrupt::pair();
        wish.send_replace(true);
        let out = Text::default();
        let ran = broker.run(arguments, io::empty(), Box::new(out.clone()), interrupt, &out).await;
        assert!(matches!(ran.outcome, Err(Stop::Interrupted)), "{arguments:?}: {ran:?}");
    }
}
