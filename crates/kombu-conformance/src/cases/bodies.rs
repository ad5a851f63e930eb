//! Bodies of all sizes and kinds, and bodies that cannot be read.

use bytes::Bytes;
use kombu_core::{ErrorKind, Message, Properties, Table, Value};

use crate::case::cases;
use crate::failure::{Failure, Outcome, refused};
use crate::stage::Stage;
use crate::wait::{self, next};

cases! {
    empty_body_arrives [];
    every_byte_arrives [];
    large_body_arrives [];
    many_sizes_arrive [];
    unicode_arrives [];
    values_arrive [];
    compressed_body_arrives [];
    poison_is_an_error_of_its_delivery [];
    poison_can_be_rejected [];
    content_is_checked_against_the_accept_list [];
}

/// Sends bytes and checks that they come back as they were.
async fn bytes_come_back(stage: &Stage, bodies: Vec<Bytes>) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work");
    let producer = connection.producer().await?;
    let mut consumer = connection.consumer(&queue).start().await?;
    for body in bodies {
        let size = body.len();
        producer.publish_raw(body.clone(), "application/data", "binary").to_queue(&queue).await?;
        let delivery = next(&mut consumer).await?;
        assert!(delivery.message().body == body, "a body of {size} bytes was changed");
        assert!(delivery.body()? == body, "a body of {size} bytes was changed by reading it");
        delivery.ack().await?;
    }
    consumer.close().await?;
    Ok(connection.close().await?)
}

async fn empty_body_arrives(stage: &Stage) -> Outcome {
    bytes_come_back(stage, vec![Bytes::new()]).await
}

async fn every_byte_arrives(stage: &Stage) -> Outcome {
    bytes_come_back(stage, vec![(0..=255).collect(), (0..=255).rev().collect()]).await
}

async fn large_body_arrives(stage: &Stage) -> Outcome {
    const MEBIBYTE: usize = 1 << 20;
    // The envelope of the virtual transports grows a body by a third and some more.
    if stage.can.max_message_bytes.is_some_and(|most| most < 2 * MEBIBYTE as u64) {
        return Err(Failure::Ignored("messages of 1 MiB are too large here".to_owned()));
    }
    let body: Vec<u8> = (0..MEBIBYTE).map(|at| u8::try_from(at % 251).unwrap_or(0)).collect();
    bytes_come_back(stage, vec![body.into()]).await
}

async fn many_sizes_arrive(stage: &Stage) -> Outcome {
    // Around the sizes at which frames and buffers end.
    let sizes =
        [1, 2, 3, 127, 128, 255, 256, 4088, 4096, 65_535, 65_536, 131_064, 131_072, 131_073];
    let most = stage
        .can
        .max_message_bytes
        .map_or(usize::MAX, |most| usize::try_from(most / 2).unwrap_or(usize::MAX));
    let sizes = sizes.into_iter().filter(|size| *size <= most);
    bytes_come_back(stage, sizes.map(|size| vec![b'x'; size].into()).collect()).await
}

async fn unicode_arrives(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work");
    let producer = connection.producer().await?;
    let channel = connection.channel();
    for text in
        ["", "ä€𝄞", "\u{0}\u{1}\u{7f}\u{80}", "\u{feff}mark", "{\"json\": [1]}", "\r\n\t\\\""]
    {
        for producer in [producer.clone(), producer.clone().serializer("json")] {
            producer.publish(text).to_queue(&queue).await?;
            let delivery = wait::get(&channel, queue.name()).await?;
            assert_eq!(delivery.decode::<String>()?, text);
            delivery.ack().await?;
        }
    }
    Ok(connection.close().await?)
}

async fn values_arrive(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work");
    let producer = connection.producer().await?;
    let value = Value::Table(
        Table::new()
            .with("null", Value::Null)
            .with("number", -1_234_567_890_123_i64)
            .with("large", u64::MAX)
            .with("float", 0.25)
            .with("list", vec![Value::from("ä"), Value::from(true)])
            .with("table", Table::new().with("empty", Table::new())),
    );
    producer.publish(&value).to_queue(&queue).await?;
    let delivery = wait::get(&connection.channel(), queue.name()).await?;
    assert_eq!(delivery.decode::<Value>()?, value);
    delivery.ack().await?;
    Ok(connection.close().await?)
}

async fn compressed_body_arrives(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work");
    let producer = connection.producer().await?.compression("gzip");
    let text = "again and ".repeat(2000);
    producer.publish(&text).to_queue(&queue).await?;
    let delivery = wait::get(&connection.channel(), queue.name()).await?;
    assert!(delivery.message().body.len() < text.len() / 10, "it was not compressed");
    let method = delivery.headers().get("compression").and_then(Value::as_str);
    assert_eq!(method, Some("application/x-gzip"));
    assert_eq!(delivery.decode::<String>()?, text);
    delivery.ack().await?;
    Ok(connection.close().await?)
}

/// Messages that cannot be read, each with the error that says so.
fn poison() -> Vec<(Message, ErrorKind)> {
    let message = |body: &'static [u8], content_type: &'static str, encoding: &'static str| {
        let mut properties = Properties::new();
        properties.content_type = Some(content_type.into());
        properties.content_encoding = Some(encoding.into());
        Message::new(body, properties)
    };
    let compressed = |method: Value| {
        let mut message = message(b"no compressed data", "application/json", "utf-8");
        message.properties.headers.insert("compression", method);
        message
    };
    vec![
        (message(b"?", "application/x-unknown", "binary"), ErrorKind::ContentDisallowed),
        (
            message(b"\x80\x04N.", "application/x-python-serialize", "binary"),
            ErrorKind::ContentDisallowed,
        ),
        (message(b"{\"a\": ", "application/json", "utf-8"), ErrorKind::Decode),
        (message(b"", "application/json", "utf-8"), ErrorKind::Decode),
        (message(b"\xff\xfe\xfd", "application/json", "utf-8"), ErrorKind::Decode),
        (message(b"[1]", "application/json", "no-such-charset"), ErrorKind::Decode),
        (compressed("application/x-gzip".into()), ErrorKind::Decode),
        (compressed("application/x-no-such-method".into()), ErrorKind::Decode),
        (compressed(Value::Int(5)), ErrorKind::Decode),
        // Readable, but not what is asked for.
        (message(b"\"text\"", "application/json", "utf-8"), ErrorKind::Decode),
    ]
}

async fn poison_is_an_error_of_its_delivery(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work");
    let producer = connection.producer().await?;
    let mut consumer = connection.consumer(&queue).start().await?;
    for (index, (message, kind)) in poison().into_iter().enumerate() {
        let what = format!("{message:?}");
        producer.publish_message(message).to_queue(&queue).await?;
        producer.publish(&index).to_queue(&queue).await?;
        let delivery = next(&mut consumer).await?;
        let Err(error) = delivery.decode::<u64>() else {
            return Err(Failure::new(format_args!("it was decoded: {what}")));
        };
        assert_eq!(error.kind(), kind, "{what}: {error:?}");
        delivery.ack().await?;
        let good = next(&mut consumer).await?;
        assert_eq!(good.decode::<usize>()?, index, "the consumer goes on after {what}");
        good.ack().await?;
    }
    consumer.close().await?;
    Ok(connection.close().await?)
}

async fn poison_can_be_rejected(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work");
    let producer = connection.producer().await?;
    let all = poison();
    let count = all.len();
    for (message, _) in all {
        producer.publish_message(message).to_queue(&queue).await?;
    }
    let mut consumer = connection.consumer(&queue).start().await?;
    for delivery in wait::hold(&mut consumer, count).await? {
        refused(delivery.decode::<u64>(), &[ErrorKind::Decode, ErrorKind::ContentDisallowed])?;
        delivery.reject().await?;
    }
    consumer.close().await?;
    assert_eq!(connection.size(queue.name()).await?, 0);
    Ok(connection.close().await?)
}

async fn content_is_checked_against_the_accept_list(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work");
    let producer = connection.producer().await?;
    let mut consumer = connection.consumer(&queue).accept([kombu_core::Json]).start().await?;
    producer.publish("plain text").to_queue(&queue).await?;
    producer.publish(&1).to_queue(&queue).await?;
    let text = next(&mut consumer).await?;
    refused(text.decode::<String>(), &[ErrorKind::ContentDisallowed])?;
    text.ack().await?;
    assert_eq!(wait::ids(&mut consumer, 1).await?, [1]);
    consumer.close().await?;
    Ok(connection.close().await?)
}
