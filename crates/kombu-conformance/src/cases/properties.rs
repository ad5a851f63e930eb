//! Properties and headers, to the other side and back.

use bytes::Bytes;
use kombu_core::{DeliveryMode, Message, Properties, Table, Tag, Value};

use crate::case::cases;
use crate::failure::Outcome;
use crate::stage::Stage;
use crate::wait;

cases! {
    properties_round_trip [];
    absent_properties_stay_absent [];
    headers_of_every_type_round_trip [];
    nested_headers_round_trip [];
    large_headers_round_trip [];
    extreme_numbers_in_headers_arrive_or_are_refused [];
    reply_reaches_the_queue_it_was_asked_to [];
}

/// Publishes a message and takes it from its queue.
async fn through(stage: &Stage, message: Message) -> Result<Message, crate::failure::Failure> {
    let connection = stage.connect().await?;
    let queue = stage.queue("work");
    connection.producer().await?.publish_message(message).to_queue(&queue).await?;
    let delivery = wait::get(&connection.channel(), queue.name()).await?;
    let (message, acker) = delivery.into_parts();
    acker.settle(kombu_core::Outcome::Ack)?;
    connection.close().await?;
    Ok(message)
}

async fn properties_round_trip(stage: &Stage) -> Outcome {
    let mut properties = Properties::new();
    properties.content_type = Some("application/x-test".into());
    properties.content_encoding = Some("x-none".into());
    properties.headers = Table::new().with("trace", "abc");
    properties.delivery_mode = DeliveryMode::Transient;
    properties.priority = 5;
    properties.correlation_id = Some("correlation ä".to_owned());
    properties.reply_to = Some("reply.queue".to_owned());
    if stage.can.message_expiration {
        properties.expiration = Some("600000".to_owned());
    }
    properties.message_id = Some("message-1".to_owned());
    properties.timestamp = Some(1_700_000_000);
    properties.kind = Some("video.encoded".to_owned());
    properties.app_id = Some("encoder".to_owned());
    let sent = Message::new("body", properties);
    let came = through(stage, sent.clone()).await?;
    assert_eq!(came.body, sent.body);
    let (mut came, sent) = (came.properties, sent.properties);
    // Brokers may add headers and envelope fields of their own; what was sent must be as it was.
    came.headers.retain_known(&sent.headers);
    came.extra = Table::new();
    assert_eq!(came, sent);
    Ok(())
}

async fn absent_properties_stay_absent(stage: &Stage) -> Outcome {
    let came = through(stage, Message::new("body", Properties::new())).await?.properties;
    let present = [
        ("correlation_id", came.correlation_id.is_some()),
        ("reply_to", came.reply_to.is_some()),
        ("expiration", came.expiration.is_some()),
        ("message_id", came.message_id.is_some()),
        ("timestamp", came.timestamp.is_some()),
        ("kind", came.kind.is_some()),
        ("user_id", came.user_id.is_some()),
        ("app_id", came.app_id.is_some()),
        ("headers", !came.headers.is_empty()),
    ];
    assert!(present.iter().all(|(_, present)| !present), "{present:?}");
    assert_eq!((came.priority, came.delivery_mode), (0, DeliveryMode::Persistent));
    Ok(())
}

/// Sends headers and checks that they come back as they were.
async fn headers_come_back(stage: &Stage, headers: Table) -> Outcome {
    let mut properties = Properties::new();
    properties.headers = headers.clone();
    let came = through(stage, Message::new("body", properties)).await?;
    for (name, value) in headers.iter() {
        let back = came.properties.headers.get(name);
        assert!(
            back == Some(value) || back.is_some_and(|back| is_same_time(value, back)),
            "header {name:?}: sent {value:?}, came {back:?}"
        );
    }
    Ok(())
}

/// Whether a timestamp came as the date that it is in Kombu's JSON, where Python has no other.
fn is_same_time(sent: &Value, came: &Value) -> bool {
    *sent == Value::Timestamp(1_700_000_000)
        && matches!(came, Value::Tagged(Tag::Datetime, text) if text == "2023-11-14T22:13:20+00:00")
}

async fn headers_of_every_type_round_trip(stage: &Stage) -> Outcome {
    let headers = Table::new()
        .with("null", Value::Null)
        .with("true", true)
        .with("false", false)
        .with("zero", 0)
        .with("byte", 200)
        .with("int", -70_000)
        .with("wide", 5_000_000_000_i64)
        .with("negative wide", -5_000_000_000_i64)
        .with("float", 0.1)
        .with("negative float", -1.5e300)
        .with("decimal", Value::Decimal("12.345".to_owned()))
        .with("text", "plain")
        .with("empty text", "")
        .with("unicode", "ä€𝄞\u{0}\n\"\\")
        .with("bytes", Bytes::from_static(b"\xff\xfe\x00"))
        .with("timestamp", Value::Timestamp(1_700_000_000))
        .with("empty list", Vec::<Value>::new())
        .with("list", vec![Value::from(1), Value::from("two"), Value::Null])
        .with("empty table", Table::new())
        .with("table", Table::new().with("a", 1).with("b", "x"));
    headers_come_back(stage, headers).await
}

async fn nested_headers_round_trip(stage: &Stage) -> Outcome {
    let mut value = Value::from("deep");
    for depth in 0..12 {
        value = if depth % 2 == 0 {
            Value::List(vec![value, Value::from(depth)])
        } else {
            Value::Table(Table::new().with("inner", value).with("depth", depth))
        };
    }
    headers_come_back(stage, Table::new().with("nested", value)).await
}

async fn large_headers_round_trip(stage: &Stage) -> Outcome {
    let long = "x".repeat(40_000);
    let mut headers = Table::new().with("long", long);
    for number in 0..200 {
        headers.insert(format!("header {number}"), number);
    }
    headers_come_back(stage, headers).await
}

async fn extreme_numbers_in_headers_arrive_or_are_refused(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work");
    let producer = connection.producer().await?;
    for value in [
        Value::Int(i64::MIN),
        Value::Int(i64::MAX),
        Value::UInt(u64::MAX),
        Value::Decimal("123456789012345678901234567890.5".to_owned()),
    ] {
        match producer.publish(&1).header("n", value.clone()).to_queue(&queue).await {
            Ok(()) => {
                let delivery = wait::get(&connection.channel(), queue.name()).await?;
                assert_eq!(delivery.headers().get("n"), Some(&value));
                delivery.ack().await?;
            }
            Err(error) => {
                let kind = error.kind();
                assert_eq!(kind, kombu_core::ErrorKind::Encode, "{value:?}: {error:?}");
                assert!(error.to_string().contains('n'), "it does not name the header: {error}");
            }
        }
    }
    Ok(connection.close().await?)
}

async fn reply_reaches_the_queue_it_was_asked_to(stage: &Stage) -> Outcome {
    let client = stage.connect().await?;
    let server = stage.connect().await?;
    let requests = stage.queue("requests");
    let replies = stage.queue("replies");
    let mut answers = client.consumer(&replies).start().await?;
    let mut asked = server.consumer(&requests).start().await?;
    client
        .producer()
        .await?
        .publish(&20)
        .to_queue(&requests)
        .reply_to(replies.name())
        .correlation_id("call 1")
        .await?;
    let request = wait::next(&mut asked).await?;
    let number: u64 = request.decode()?;
    let (to, id) = {
        let properties = request.properties();
        (properties.reply_to.clone(), properties.correlation_id.clone())
    };
    server
        .producer()
        .await?
        .publish(&(number + 1))
        .to("", to.unwrap_or_default())
        .correlation_id(id.unwrap_or_default())
        .await?;
    request.ack().await?;
    let answer = wait::next(&mut answers).await?;
    assert_eq!(answer.decode::<u64>()?, 21);
    assert_eq!(answer.properties().correlation_id.as_deref(), Some("call 1"));
    answer.ack().await?;
    server.close().await?;
    Ok(client.close().await?)
}

/// Leaves out what others added.
trait RetainKnown {
    /// Keeps the names that `known` has.
    fn retain_known(&mut self, known: &Table);
}

impl RetainKnown for Table {
    fn retain_known(&mut self, known: &Table) {
        let own = std::mem::take(self).into_iter().filter(|(name, _)| known.contains(name));
        *self = own.collect();
    }
}
