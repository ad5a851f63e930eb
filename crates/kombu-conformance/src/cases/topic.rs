//! Topic and headers exchanges, and exchanges behind exchanges.

use kombu_core::{Binding, ErrorKind, ExchangeType, Table, Value};

use crate::case::cases;
use crate::cases::routing::{arrived, publish_keys};
use crate::failure::{Outcome, refused};
use crate::stage::Stage;

cases! {
    topic_matches_as_amqp_says ["topic"];
    topic_gives_one_copy_however_often_it_matches ["topic"];
    topic_unbinds_by_pattern ["topic"];
    headers_all_and_any ["headers"];
    headers_without_arguments_match_everything ["headers"];
    exchange_to_exchange_bindings_route_on ["direct", "fanout", "exchange_bindings"];
    exchange_to_exchange_cycles_end ["fanout", "exchange_bindings"];
    binding_a_missing_exchange_is_not_found ["direct"];
}

/// A binding key, and which keys it matches and which not.
const PATTERNS: &[(&str, &[&str], &[&str])] = &[
    ("stock.us.ibm", &["stock.us.ibm"], &["stock.us", "stock.us.ibm.x", "stockxus.ibm", ""]),
    ("stock.*.ibm", &["stock.us.ibm", "stock.de.ibm"], &["stock.ibm", "stock.us.x.ibm"]),
    ("*", &["one", "*"], &["one.two"]),
    ("*.*", &["one.two"], &["one", "one.two.three"]),
    ("#", &["", "one", "one.two", "one.two.three"], &[]),
    ("stock.#", &["stock", "stock.us", "stock.us.ibm"], &["stocks", "xstock", "x.stock"]),
    ("#.ibm", &["ibm", "us.ibm", "stock.us.ibm"], &["ibms", "ibm.us"]),
    ("a.#.z", &["a.z", "a.b.z", "a.b.c.z"], &["a", "z", "a.b", "az"]),
    ("#.b.#", &["b", "a.b", "b.c", "a.b.c"], &["a", "a.c", "bb"]),
    ("*.#", &["one", "one.two"], &[]),
    ("#.*", &["one", "one.two"], &[]),
    ("a.*.#", &["a.b", "a.b.c"], &["a"]),
    ("a+(b).c", &["a+(b).c"], &["aab.c", "ab.c"]),
];

async fn topic_matches_as_amqp_says(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let exchange = stage.exchange("stocks", ExchangeType::Topic);
    let producer = connection.producer().await?;
    for (index, (pattern, matching, other)) in PATTERNS.iter().enumerate() {
        let queue = stage.queue(&format!("p{index}")).bind(&exchange, *pattern);
        connection.declare_queue(&queue).await?;
        publish_keys(&producer, &exchange, other).await?;
        publish_keys(&producer, &exchange, matching).await?;
        assert_eq!(arrived(&connection, queue.name()).await?, *matching, "pattern {pattern:?}");
        connection.delete_queue(queue.name()).await?;
    }
    Ok(connection.close().await?)
}

async fn topic_gives_one_copy_however_often_it_matches(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let exchange = stage.exchange("stocks", ExchangeType::Topic);
    let queue =
        stage.queue("work").bind(&exchange, "a.#").bind(&exchange, "*.b").bind(&exchange, "#");
    connection.declare_queue(&queue).await?;
    publish_keys(&connection.producer().await?, &exchange, &["a.b", "c.b", "d"]).await?;
    assert_eq!(arrived(&connection, queue.name()).await?, ["a.b", "c.b", "d"]);
    Ok(connection.close().await?)
}

async fn topic_unbinds_by_pattern(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let exchange = stage.exchange("stocks", ExchangeType::Topic);
    let queue = stage.queue("work").bind(&exchange, "a.*").bind(&exchange, "*.z");
    connection.declare_queue(&queue).await?;
    connection.channel().unbind_queue(queue.name(), &Binding::new(&exchange, "a.*")).await?;
    publish_keys(&connection.producer().await?, &exchange, &["a.b", "b.z", "a.z"]).await?;
    assert_eq!(arrived(&connection, queue.name()).await?, ["b.z", "a.z"]);
    Ok(connection.close().await?)
}

async fn headers_all_and_any(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let exchange = stage.exchange("reports", ExchangeType::Headers);
    let binding = |rule: &str| {
        Binding::new(&exchange, "")
            .argument("x-match", rule)
            .argument("format", "pdf")
            .argument("pages", 3)
    };
    let all = stage.queue("all").binding(binding("all"));
    let any = stage.queue("any").binding(binding("any"));
    connection.declare_queue(&all).await?;
    connection.declare_queue(&any).await?;
    let producer = connection.producer().await?;
    for (body, headers) in [
        ("both", Table::new().with("format", "pdf").with("pages", 3).with("more", true)),
        ("one", Table::new().with("format", "pdf").with("pages", 4)),
        ("none", Table::new().with("format", "txt")),
        ("empty", Table::new()),
        ("other type", Table::new().with("pages", "3")),
    ] {
        producer.publish(body).to(&exchange, "ignored").headers(headers).await?;
    }
    assert_eq!(arrived(&connection, all.name()).await?, ["both"]);
    assert_eq!(arrived(&connection, any.name()).await?, ["both", "one"]);
    Ok(connection.close().await?)
}

async fn headers_without_arguments_match_everything(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let exchange = stage.exchange("reports", ExchangeType::Headers);
    let queue = stage.queue("work").bind(&exchange, "");
    connection.declare_queue(&queue).await?;
    let producer = connection.producer().await?;
    producer.publish("plain").to(&exchange, "").await?;
    producer.publish("headed").to(&exchange, "").header("n", Value::Null).await?;
    assert_eq!(arrived(&connection, queue.name()).await?, ["plain", "headed"]);
    Ok(connection.close().await?)
}

async fn exchange_to_exchange_bindings_route_on(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let (source, target) = (stage.direct("source"), stage.fanout("target"));
    let queue = stage.queue("work").bind(&target, "");
    connection.declare_exchange(&source).await?;
    connection.declare_queue(&queue).await?;
    let channel = connection.channel();
    let binding = Binding::new(&source, "key");
    channel.bind_exchange(&target, &binding).await?;
    channel.bind_exchange(&target, &binding).await?;
    let producer = connection.producer().await?;
    publish_keys(&producer, &source, &["key", "other"]).await?;
    assert_eq!(arrived(&connection, queue.name()).await?, ["key"]);
    channel.unbind_exchange(&target, &binding).await?;
    publish_keys(&producer, &source, &["key"]).await?;
    assert!(arrived(&connection, queue.name()).await?.is_empty(), "it was unbound");
    channel.unbind_exchange(&target, &binding).await?;
    Ok(connection.close().await?)
}

async fn exchange_to_exchange_cycles_end(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let (one, two) = (stage.fanout("one"), stage.fanout("two"));
    let queue = stage.queue("work").bind(&one, "").bind(&two, "");
    connection.declare_queue(&queue).await?;
    let channel = connection.channel();
    channel.bind_exchange(&one, &Binding::new(&two, "")).await?;
    channel.bind_exchange(&two, &Binding::new(&one, "")).await?;
    publish_keys(&connection.producer().await?, &one, &["once"]).await?;
    assert_eq!(arrived(&connection, queue.name()).await?, ["once"]);
    Ok(connection.close().await?)
}

async fn binding_a_missing_exchange_is_not_found(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work");
    connection.declare_queue(&queue).await?;
    let missing = Binding::new(kombu_core::Exchange::direct(stage.name("missing")), "key");
    let bound = connection.channel().bind_queue(queue.name(), &missing).await;
    refused(bound, &[ErrorKind::NotFound])?;
    Ok(connection.close().await?)
}
