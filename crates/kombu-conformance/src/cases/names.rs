//! Names and keys that are long, odd or wrong.

use kombu_core::{ErrorKind, Exchange, Queue};

use crate::case::cases;
use crate::failure::{Failure, Outcome, refused};
use crate::stage::Stage;
use crate::wait;

cases! {
    odd_queue_names_work_or_are_refused [];
    long_queue_names_work_or_are_refused [];
    odd_routing_keys_arrive ["direct"];
    long_routing_keys_arrive_or_are_refused ["direct"];
    odd_exchange_names_work_or_are_refused ["direct"];
    reserved_names_are_refused_or_work [];
}

/// Text that brokers, file systems and URLs give a meaning of their own.
const ODD: &[&str] = &[
    "with space",
    "dots.in.it",
    "slash/back\\slash",
    "per%cent",
    "star*hash#",
    "ä€𝄞",
    "colon:semi;",
    "quote'\"`",
    "new\nline",
    "<tag>&",
    "UPPER",
    "..",
    "pipe|~",
    "$dollar",
    "{brace}[bracket]",
];

/// The kinds of a refusal of a name.
const REFUSALS: &[ErrorKind] = &[ErrorKind::InvalidArgument, ErrorKind::PreconditionFailed];

/// Sends a message through a queue of that name, if the broker takes the name.
async fn try_queue(stage: &Stage, name: String) -> Result<bool, Failure> {
    let connection = stage.connect().await?;
    let queue = stage.queue_named(name);
    let taken = match connection.declare_queue(&queue).await {
        Ok(info) => {
            assert_eq!(info.name, queue.name());
            connection.producer().await?.publish(&1).to_queue(&queue).await?;
            let mut consumer = connection.consumer(&queue).start().await?;
            let delivery = wait::next(&mut consumer).await?;
            assert_eq!(delivery.queue(), queue.name());
            assert_eq!(delivery.routing_key(), queue.name());
            delivery.ack().await?;
            consumer.close().await?;
            connection.delete_queue(queue.name()).await?;
            true
        }
        Err(error) => {
            refused(Err::<(), _>(error), REFUSALS)?;
            false
        }
    };
    // Whatever the answer was, the connection works on.
    connection.declare_queue(&stage.queue("usual")).await?;
    connection.close().await?;
    Ok(taken)
}

async fn odd_queue_names_work_or_are_refused(stage: &Stage) -> Outcome {
    for odd in ODD {
        try_queue(stage, stage.name(odd)).await?;
    }
    Ok(())
}

async fn long_queue_names_work_or_are_refused(stage: &Stage) -> Outcome {
    let start = stage.name("long-");
    for length in [60, 255, 256, 300, 70_000] {
        let name = format!("{start}{}", "x".repeat(length - start.len()));
        let taken = try_queue(stage, name).await?;
        assert!(taken || length > 60, "a name of {length} bytes is refused");
    }
    // Bytes count, not characters.
    try_queue(stage, format!("{start}{}", "ä".repeat(120))).await?;
    Ok(())
}

async fn odd_routing_keys_arrive(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let exchange = stage.direct("media");
    let producer = connection.producer().await?;
    for (index, key) in ODD.iter().enumerate() {
        let queue = stage.queue(&format!("q{index}")).bind(&exchange, *key);
        connection.declare_queue(&queue).await?;
        producer.publish(&index).to(&exchange, *key).await?;
        let delivery = wait::get(&connection.channel(), queue.name()).await?;
        assert_eq!((delivery.decode::<usize>()?, delivery.routing_key()), (index, *key));
        delivery.ack().await?;
        connection.delete_queue(queue.name()).await?;
    }
    Ok(connection.close().await?)
}

async fn long_routing_keys_arrive_or_are_refused(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let exchange = stage.direct("media");
    let producer = connection.producer().await?;
    for length in [255, 256, 5000] {
        let key = "k".repeat(length);
        let queue = stage.queue("work").bind(&exchange, key.as_str());
        match connection.declare_queue(&queue).await {
            Ok(_) => {
                producer.publish(&1).to(&exchange, key.as_str()).await?;
                let delivery = wait::get(&connection.channel(), queue.name()).await?;
                assert_eq!(delivery.routing_key(), key);
                delivery.ack().await?;
            }
            Err(error) => {
                refused(Err::<(), _>(error), REFUSALS)?;
                refused(producer.publish(&1).to(&exchange, key.as_str()).await, REFUSALS)?;
            }
        }
    }
    producer.publish(&1).to(&exchange, "short").await?;
    Ok(connection.close().await?)
}

async fn odd_exchange_names_work_or_are_refused(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let producer = connection.producer().await?;
    for (index, odd) in ODD.iter().enumerate() {
        let exchange = stage.direct(odd);
        let queue = stage.queue(&format!("q{index}")).bind(&exchange, "key");
        match connection.declare_queue(&queue).await {
            Ok(_) => {
                producer.publish(&1).to(&exchange, "key").await?;
                let delivery = wait::get(&connection.channel(), queue.name()).await?;
                assert_eq!(delivery.exchange(), exchange.name());
                delivery.ack().await?;
            }
            Err(error) => drop(refused(Err::<(), _>(error), REFUSALS)?),
        }
    }
    let long = Exchange::direct("x".repeat(300));
    match connection.declare_exchange(&long).await {
        Ok(()) => {
            let delete = kombu_core::transport::DeleteExchange::new(long.name());
            connection.channel().delete_exchange(&delete).await?;
        }
        Err(error) => drop(refused(Err::<(), _>(error), REFUSALS)?),
    }
    Ok(connection.close().await?)
}

async fn reserved_names_are_refused_or_work(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = Queue::new(format!("amq.{}", stage.name("reserved")));
    match connection.declare_queue(&queue).await {
        Ok(_) => drop(connection.delete_queue(queue.name()).await?),
        Err(error) => {
            let kinds = [ErrorKind::AccessRefused, ErrorKind::InvalidArgument];
            refused(Err::<(), _>(error), &kinds)?;
        }
    }
    connection.declare_queue(&stage.queue("usual")).await?;
    Ok(connection.close().await?)
}
