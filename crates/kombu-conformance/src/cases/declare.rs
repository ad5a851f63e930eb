//! Declaring exchanges and queues.

use kombu_core::{ErrorKind, Exchange, ExchangeType, Queue};

use crate::case::cases;
use crate::failure::{Outcome, refused};
use crate::stage::Stage;
use crate::wait::{self, eventually, eventually_within};

cases! {
    redeclare_is_idempotent ["direct"];
    redeclare_with_other_type_is_refused ["direct", "fanout"];
    redeclare_with_other_arguments_is_refused ["max_length"];
    passive_declare_of_missing_is_not_found [];
    passive_declare_of_existing_counts [];
    declaring_a_queue_makes_its_exchanges_and_bindings ["direct"];
    server_named_queues_differ [];
    undeclared_entities_are_left_alone ["direct"];
    default_exchange_is_there [];
    consumers_are_counted ["consumer_count"];
    exclusive_queue_is_for_one_connection ["exclusive_queues"];
    exclusive_queue_goes_with_its_connection ["exclusive_queues"];
    auto_delete_queue_goes_with_its_last_consumer ["auto_delete_queues"];
    others_see_what_was_declared ["direct", "shared_bindings"];
}

async fn redeclare_is_idempotent(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let exchange = stage.direct("media");
    let queue = stage.queue("work").bind(&exchange, "key");
    for _ in 0..3 {
        connection.declare_exchange(&exchange).await?;
        connection.declare_queue(&queue).await?;
    }
    let producer = connection.producer().await?;
    producer.publish(&1).to(&exchange, "key").await?;
    let info = connection.declare_queue(&queue).await?;
    assert_eq!(
        (info.name.as_str(), info.messages),
        (queue.name(), 1),
        "declaring lost the message"
    );
    Ok(connection.close().await?)
}

async fn redeclare_with_other_type_is_refused(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let exchange = stage.direct("media");
    connection.declare_exchange(&exchange).await?;
    let other = Exchange::fanout(exchange.name());
    let error =
        refused(connection.declare_exchange(&other).await, &[ErrorKind::PreconditionFailed])?;
    assert!(error.to_string().contains(exchange.name()), "it does not name the exchange: {error}");
    // What was refused changed nothing, and the connection works on.
    connection.declare_exchange(&exchange).await?;
    Ok(connection.close().await?)
}

async fn redeclare_with_other_arguments_is_refused(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work");
    connection.declare_queue(&queue.clone().max_length(3)).await?;
    let other = connection.declare_queue(&queue.clone().max_length(4)).await;
    let error = refused(other, &[ErrorKind::PreconditionFailed])?;
    assert!(error.to_string().contains(queue.name()), "it does not name the queue: {error}");
    connection.declare_queue(&queue.max_length(3)).await?;
    Ok(connection.close().await?)
}

async fn passive_declare_of_missing_is_not_found(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = Queue::new(stage.name("missing")).passive(true);
    let error = refused(connection.declare_queue(&queue).await, &[ErrorKind::NotFound])?;
    assert!(error.to_string().contains(queue.name()), "it does not name the queue: {error}");
    let exchange = Exchange::direct(stage.name("missing")).passive(true);
    let error = refused(connection.declare_exchange(&exchange).await, &[ErrorKind::NotFound])?;
    assert!(error.to_string().contains(exchange.name()), "it does not name the exchange: {error}");
    refused(connection.size(queue.name()).await, &[ErrorKind::NotFound])?;
    refused(connection.purge(queue.name()).await, &[ErrorKind::NotFound])?;
    connection.declare_queue(&stage.queue("work")).await?;
    Ok(connection.close().await?)
}

async fn passive_declare_of_existing_counts(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work");
    let producer = connection.producer().await?;
    for id in 0..3 {
        producer.publish(&id).to_queue(&queue).await?;
    }
    let passive = Queue::new(queue.name()).passive(true);
    let info = connection.declare_queue(&passive).await?;
    assert_eq!((info.name.as_str(), info.messages), (queue.name(), 3));
    let exchange = stage.direct("media");
    if stage.can.direct {
        connection.declare_exchange(&exchange).await?;
        connection.declare_exchange(&Exchange::direct(exchange.name()).passive(true)).await?;
    }
    Ok(connection.close().await?)
}

async fn declaring_a_queue_makes_its_exchanges_and_bindings(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let (one, two) = (stage.direct("one"), stage.direct("two"));
    let queue = stage.queue("work").bind(&one, "a").bind(&two, "b").bind(&two, "c");
    connection.declare_queue(&queue).await?;
    let producer = connection.producer().await?;
    for (id, exchange, key) in [(1, &one, "a"), (2, &two, "b"), (3, &two, "c")] {
        producer.publish(&id).to(exchange.name(), key).await?;
    }
    let ids = wait::get_ids(&connection.channel(), queue.name(), 3).await?;
    assert_eq!(ids, [1, 2, 3]);
    Ok(connection.close().await?)
}

async fn server_named_queues_differ(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let one = connection.declare_queue(&Queue::new("")).await?.name;
    let two = connection.declare_queue(&Queue::new("")).await?.name;
    assert!(!one.is_empty() && one != two, "{one:?} and {two:?}");
    for name in [one, two] {
        let queue = stage.queue_named(name);
        let producer = connection.producer().await?;
        producer.publish(&7).to("", queue.name()).await?;
        assert_eq!(wait::get_ids(&connection.channel(), queue.name(), 1).await?, [7]);
    }
    Ok(connection.close().await?)
}

async fn undeclared_entities_are_left_alone(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let exchange = stage.direct("media").no_declare();
    connection.declare_exchange(&exchange).await?;
    let passive = exchange.clone().passive(true);
    let declared = Exchange::new(passive.name(), ExchangeType::Direct).passive(true);
    refused(connection.declare_exchange(&declared).await, &[ErrorKind::NotFound])?;
    let queue = stage.queue("work").no_declare();
    connection.declare_queue(&queue).await?;
    let passive = Queue::new(queue.name()).passive(true);
    refused(connection.declare_queue(&passive).await, &[ErrorKind::NotFound])?;
    Ok(connection.close().await?)
}

async fn default_exchange_is_there(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work").bind(Exchange::default_exchange(), "ignored");
    connection.declare_exchange(&Exchange::default_exchange()).await?;
    connection.declare_queue(&queue).await?;
    let producer = connection.producer().await?;
    producer.publish(&1).to(Exchange::default_exchange(), queue.name()).await?;
    let delivery = wait::get(&connection.channel(), queue.name()).await?;
    assert_eq!((delivery.exchange(), delivery.routing_key()), ("", queue.name()));
    delivery.ack().await?;
    Ok(connection.close().await?)
}

async fn consumers_are_counted(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work");
    let consumer = connection.consumer(&queue).start().await?;
    let _second = connection.consumer(&queue).start().await?;
    assert_eq!(connection.declare_queue(&queue).await?.consumers, 2);
    consumer.close().await?;
    eventually("one consumer to be left", async || {
        Ok(connection.declare_queue(&queue).await?.consumers == 1)
    })
    .await?;
    Ok(connection.close().await?)
}

async fn exclusive_queue_is_for_one_connection(stage: &Stage) -> Outcome {
    let owner = stage.connect().await?;
    let other = stage.connect().await?;
    let queue = stage.queue("own").exclusive(true);
    owner.declare_queue(&queue).await?;
    owner.declare_queue(&queue).await?;
    let locked = [ErrorKind::ResourceLocked];
    refused(other.declare_queue(&queue).await, &locked)?;
    refused(other.consumer(&queue).start().await, &locked)?;
    refused(other.get(queue.name()).await, &locked)?;
    // Anyone may send to it.
    other.producer().await?.publish(&1).to("", queue.name()).await?;
    assert_eq!(wait::get_ids(&owner.channel(), queue.name(), 1).await?, [1]);
    other.close().await?;
    Ok(owner.close().await?)
}

async fn exclusive_queue_goes_with_its_connection(stage: &Stage) -> Outcome {
    let owner = stage.connect().await?;
    let other = stage.connect().await?;
    let queue = stage.queue("own").exclusive(true);
    owner.declare_queue(&queue).await?;
    owner.close().await?;
    eventually("the exclusive queue to go", async || is_missing(&other, queue.name()).await)
        .await?;
    Ok(other.close().await?)
}

async fn auto_delete_queue_goes_with_its_last_consumer(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("short").auto_delete(true);
    let one = connection.consumer(&queue).start().await?;
    let two = connection.consumer(&queue).start().await?;
    one.close().await?;
    assert!(!is_missing(&connection, queue.name()).await?, "it went with its first consumer");
    two.close().await?;
    eventually_within(
        wait::SOON,
        std::time::Duration::from_millis(50),
        "the queue to go",
        async || is_missing(&connection, queue.name()).await,
    )
    .await?;
    Ok(connection.close().await?)
}

async fn others_see_what_was_declared(stage: &Stage) -> Outcome {
    let one = stage.connect().await?;
    let other = stage.connect().await?;
    let exchange = stage.direct("media");
    let queue = stage.queue("work").bind(&exchange, "key");
    one.declare_queue(&queue).await?;
    // The other side knows nothing but names.
    other.producer().await?.publish(&1).to(exchange.name(), "key").await?;
    assert_eq!(wait::get_ids(&one.channel(), queue.name(), 1).await?, [1]);
    other.close().await?;
    Ok(one.close().await?)
}

/// Whether a queue is not there.
async fn is_missing(
    connection: &kombu_core::Connection,
    queue: &str,
) -> Result<bool, crate::failure::Failure> {
    match connection.size(queue).await {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error.into()),
    }
}
