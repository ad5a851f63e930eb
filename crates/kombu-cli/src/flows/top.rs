//! What `top` shows.

use super::*;

#[tokio::test]
async fn scripts_get_a_line_for_each_queue() {
    let broker = Broker::new();
    broker.publish("q", 5).await;
    let connection = broker.connect().await;
    let mut consumer = connection.consumer("busy").start().await.unwrap();
    let top = ["top", URL, "q", "busy", "none", "--once", "--json", "--interval", "0.2"];
    let producer = connection.producer().await.unwrap();
    // From here on time passes only in sleeps.
    tokio::time::pause();
    let (ran, ()) = tokio::join!(broker.kombu(&top), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        for number in 0..10 {
            producer.publish(&number).to("", "q").await.unwrap();
        }
    });
    let lines = objects(&ran.done());
    consumer.cancel().await;
    let names: Vec<_> = lines.iter().map(|line| line["queue"].clone()).collect();
    assert_eq!(names, ["q", "busy", "none"]);
    assert_eq!(lines[0]["messages"], 15);
    let rate = lines[0]["rate"].as_f64().unwrap();
    assert!((49.0..=50.0).contains(&rate), "10 more in 0.2 s, not {rate}");
    assert_eq!((&lines[1]["messages"], &lines[1]["consumers"]), (&json!(0), &json!(1)));
    assert_eq!(lines[1]["rate"], 0.0);
    for key in ["messages", "rate", "consumers"] {
        assert!(lines[2][key].is_null(), "{key}");
    }
    assert!(lines[0]["time"].as_f64().unwrap() > 1.7e9);
}

#[tokio::test]
async fn a_table_is_written_for_each_look() {
    let broker = Broker::new();
    broker.publish("video", 3).await;
    let top = ["top", URL, "video", "a", "--count", "2", "--interval", "0.01"];
    let text = broker.kombu(&top).await.done();
    let lines: Vec<Vec<_>> =
        text.lines().map(|line| line.split_ascii_whitespace().collect()).collect();
    let heading = ["queue", "messages", "per", "second", "consumers"];
    assert_eq!(lines.len(), 6);
    assert_eq!((&lines[0][..], &lines[3][..]), (&heading[..], &heading[..]));
    assert_eq!(lines[1], ["video", "3", "0"], "the first one has no rate");
    assert_eq!(lines[4], ["video", "3", "+0.0", "0"]);
    assert_eq!((&lines[2][..], &lines[5][..]), (&["a", "missing"][..], &["a", "missing"][..]));
    assert!(!text.contains('\x1b'));
}

#[tokio::test]
async fn a_terminal_sees_it_in_place() {
    let broker = Broker::new();
    broker.publish("video", 3).await;
    let (_wish, interrupt) = Interrupt::pair();
    let out = Text::default();
    let top = ["top", URL, "video", "--count", "3", "--interval", "0.01"];
    let writer = Box::new(out.clone());
    let ran = broker.run_shown(&top, io::empty(), writer, interrupt, &out, true).await;
    let text = ran.done();
    assert_eq!(text.matches("\x1b[2A\x1b[J").count(), 2, "{text:?}");
    assert_eq!(text.matches("video").count(), 3);
}

#[tokio::test]
async fn an_interrupt_ends_it_at_once() {
    let broker = Broker::new();
    let (wish, interrupt) = Interrupt::pair();
    let text = Text::default();
    let then = move || {
        wish.send_replace(true);
        Ok(())
    };
    let out = Lines { left: 0, text: text.clone(), then };
    let top = ["top", URL, "q", "--interval", "3600"];
    let ran = broker.run(&top, io::empty(), Box::new(out), interrupt, &text).await;
    assert!(matches!(ran.outcome, Err(Stop::Interrupted)), "{ran:?}");
}
