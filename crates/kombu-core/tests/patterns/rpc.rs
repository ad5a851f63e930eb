//! Calls and answers.

use std::future::{Future, IntoFuture as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kombu_core::rpc::{collect_replies, reply_queue};
use kombu_core::{
    Connection, ErrorKind, Exchange, Queue, Result, RpcClient, RpcServer, Value, uuid,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Barrier, oneshot};
use tokio::task::JoinHandle;

use super::{LIMIT, SOON, connect, queue_goes, size_becomes, text};

/// A server that runs until it is told to end.
struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<()>>,
}

impl Running {
    fn new<T, R, F, Fut>(server: RpcServer, handler: F) -> Self
    where
        T: DeserializeOwned + Send + 'static,
        R: Serialize + Send + Sync + 'static,
        F: Fn(T) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, String>> + Send + 'static,
    {
        let (stop, stopped) = oneshot::channel();
        let shutdown = async { drop(stopped.await) };
        Self { stop, task: tokio::spawn(server.serve(shutdown, handler)) }
    }

    async fn end(self) -> Result<()> {
        drop(self.stop);
        self.task.await.unwrap()
    }
}

async fn client(connection: &Connection) -> Result<RpcClient> {
    connection.rpc_client().timeout(LIMIT).start().await
}

#[tokio::test]
async fn a_call_gets_what_the_server_makes_of_it() -> Result<()> {
    let connection = connect().await?;
    let server = connection.rpc_server("double").start().await?;
    let server = Running::new(server, |number: i64| async move { Ok(number * 2) });
    let client = client(&connection).await?;
    let answer: i64 = client.call("double", &21).await?;
    assert_eq!(answer, 42);
    // Any number at once.
    let calls = (0..200).map(|number| client.call::<_, i64>("double", &number).into_future());
    let answers = futures_util::future::join_all(calls).await;
    for (number, answer) in (0..200).zip(answers) {
        assert_eq!(answer?, number * 2);
    }
    server.end().await?;
    client.close().await
}

#[tokio::test]
async fn whatever_fails_is_answered_and_the_server_goes_on() -> Result<()> {
    let connection = connect().await?;
    let server = connection.rpc_server("q").time_limit(SOON).start().await?;
    let server = Running::new(server, |word: String| async move {
        match word.as_str() {
            "fail" => Err("as told".to_owned()),
            "panic" => panic!("as told"),
            "hang" => std::future::pending().await,
            "bytes" => Ok(Value::Float(f64::NAN)),
            _ => Ok(Value::from(word)),
        }
    });
    let client = client(&connection).await?;
    for (word, said) in
        [("fail", "as told"), ("panic", "the handler panicked"), ("hang", "longer than 50ms")]
    {
        let error = client.call::<_, String>("q", word).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Remote, "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
    let error = client.call::<_, String>("q", &["no", "word"]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Remote);
    assert!(error.to_string().contains("cannot decode"), "{error}");
    let error = client.call::<_, u8>("q", "word").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode, "a reply of another kind");
    assert_eq!(client.call::<_, String>("q", "word").await?, "word");
    server.end().await?;
    assert_eq!(connection.size("q").await?, 0, "all are acknowledged");
    Ok(())
}

#[tokio::test]
async fn a_server_works_on_so_many_at_once() -> Result<()> {
    let connection = connect().await?;
    let server = connection.rpc_server("q").concurrency(3).start().await?;
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    // With fewer at once none would ever end.
    let all_three = Arc::new(Barrier::new(3));
    let server = Running::new(server, move |(): ()| {
        let (now, most, all_three) = (Arc::clone(&now), Arc::clone(&most), Arc::clone(&all_three));
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            all_three.wait().await;
            now.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        }
    });
    let client = client(&connection).await?;
    let calls = (0..12).map(|_| client.call::<_, ()>("q", &()).into_future());
    for answer in futures_util::future::join_all(calls).await {
        answer?;
    }
    assert_eq!(seen.load(Ordering::SeqCst), 3);
    server.end().await
}

#[tokio::test]
async fn a_request_without_reply_to_is_carried_out_and_not_answered() -> Result<()> {
    let connection = connect().await?;
    let done = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&done);
    let queue = Queue::new("q")
        .argument("x-dead-letter-exchange", "")
        .argument("x-dead-letter-routing-key", "failed");
    connection.declare_queue(&Queue::new("failed")).await?;
    let server = connection.rpc_server(queue).start().await?;
    let server = Running::new(server, move |number: usize| {
        let done = Arc::clone(&count);
        async move {
            done.fetch_add(1, Ordering::SeqCst);
            if number == 0 { Err("as told".to_owned()) } else { Ok(number) }
        }
    });
    let producer = connection.producer().await?;
    producer.publish(&1).to("", "q").await?;
    producer.publish(&0).to("", "q").await?;
    size_becomes(&connection, "failed", 1).await;
    server.end().await?;
    assert_eq!(done.load(Ordering::SeqCst), 2);
    assert_eq!(connection.size("q").await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_late_reply_finds_no_queue_and_hurts_nobody() -> Result<()> {
    let connection = connect().await?;
    let mut requests = connection.consumer("q").start().await?;
    let client = client(&connection).await?;
    let error = client.call::<_, u8>("q", &1).timeout(SOON).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let request = requests.next().await.unwrap()?;
    let reply_to = request.properties().reply_to.clone().unwrap();
    assert_eq!(request.properties().expiration.as_deref(), Some("50"));

    // The client is there, the call is not.
    let producer = connection.producer().await?;
    producer.reply(&request, &1).await?;
    // Neither is there.
    client.close().await?;
    queue_goes(&connection, &reply_to).await;
    for _ in 0..100 {
        producer.reply(&request, &1).await?;
    }
    let told = producer.clone().mandatory(true).reply(&request, &1).await;
    assert_eq!(told.unwrap_err().kind(), ErrorKind::Unroutable);
    assert!(connection.size(&reply_to).await.is_err(), "no queue was made for them");
    request.ack().await
}

#[tokio::test]
async fn a_missing_queue_is_told_when_asked_for() -> Result<()> {
    let connection = connect().await?;
    let client = connection.rpc_client().mandatory(true).timeout(LIMIT).start().await?;
    let error = client.call::<_, u8>("nowhere", &1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unroutable);
    Ok(())
}

#[tokio::test]
async fn requests_can_go_through_an_exchange_with_all_that_messages_have() -> Result<()> {
    let connection = connect().await?;
    let math = Exchange::topic("math");
    let server = connection.rpc_server(Queue::new("q").bind(&math, "add.#")).start().await?;
    let server =
        Running::new(server, |numbers: Vec<i64>| async move { Ok(numbers.iter().sum::<i64>()) });
    let client = client(&connection).await?;
    let call = client.call("q", &[1, 2, 3]).to(&math, "add.all");
    let sum: i64 = call.with(|request| request.priority(3).header("trace", "x")).await?;
    assert_eq!(sum, 6);
    let reply = client.request(client.producer().publish(&[4, 5]).to(&math, "add")).await?;
    assert_eq!(reply.decode::<i64>()?, 9);
    assert!(reply.properties().correlation_id.is_some());
    server.end().await
}

#[tokio::test]
async fn what_a_stopped_server_did_not_do_is_for_another() -> Result<()> {
    let connection = connect().await?;
    let slow = connection.rpc_server("q").grace(Duration::ZERO).start().await?;
    let (started, begun) = oneshot::channel::<()>();
    let started = std::sync::Mutex::new(Some(started));
    let slow = Running::new(slow, move |(): ()| {
        drop(started.lock().unwrap().take());
        std::future::pending::<Result<u8, String>>()
    });
    let client = client(&connection).await?;
    let (answer, ()) = tokio::join!(client.call::<_, u8>("q", &()).into_future(), async {
        drop(begun.await);
        slow.end().await.unwrap();
        let quick = connection.rpc_server("q").start().await.unwrap();
        let quick = Running::new(quick, |(): ()| async { Ok(7_u8) });
        size_becomes(&connection, "q", 0).await;
        quick.end().await.unwrap();
    });
    assert_eq!(answer?, 7);
    Ok(())
}

#[tokio::test]
async fn a_reply_is_in_the_codec_of_its_request() -> Result<()> {
    let connection = connect().await?;
    let queue = reply_queue(&connection.capabilities().await?);
    assert!(queue.is_exclusive() && !queue.is_durable());
    let replies = collect_replies(&connection, &queue).await?;
    let producer = connection.producer().await?;
    let ask = |producer: &kombu_core::Producer| {
        producer.publish("?").to_queue(&Queue::new("q")).reply_to(queue.name()).correlation_id("7")
    };
    ask(&producer.clone().serializer("json")).await?;
    ask(&producer).await?;
    for _ in 0..2 {
        let request = connection.get("q").await?.unwrap();
        producer.reply(&request, "!").await?;
        request.ack().await?;
    }
    let mut replies = replies.limit(2).within(LIMIT).required();
    for content_type in ["application/json", "text/plain"] {
        let reply = replies.next().await.unwrap()?;
        let properties = reply.properties();
        assert_eq!(properties.content_type.as_deref(), Some(content_type));
        assert_eq!(properties.correlation_id.as_deref(), Some("7"));
        assert_eq!(text(&reply), "!");
    }
    replies.close().await?;
    queue_goes(&connection, queue.name()).await;

    producer.publish("?").to("", "q").await?;
    let request = connection.get("q").await?.unwrap();
    let error = producer.reply(&request, "!").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().contains("no reply_to"), "{error}");
    Ok(())
}

#[tokio::test]
async fn all_who_hear_a_broadcast_can_answer_it() -> Result<()> {
    let connection = connect().await?;
    let news = Exchange::fanout("who");
    let mut nodes = Vec::new();
    for number in 0..3 {
        let node = connection.rpc_server(Queue::from(kombu_core::Broadcast::on(news.clone())));
        nodes.push(Running::new(node.start().await?, move |(): ()| async move { Ok(number) }));
    }
    let queue = reply_queue(&connection.capabilities().await?);
    let mut replies = collect_replies(&connection, &queue).await?.limit(3).within(LIMIT);
    let ask = connection.producer().await?.publish(&()).to(&news, "");
    ask.reply_to(queue.name()).correlation_id(uuid()).await?;
    let mut seen = Vec::new();
    while let Some(reply) = replies.next().await {
        seen.push(reply?.decode::<i32>()?);
    }
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2]);
    for node in nodes {
        node.end().await?;
    }
    Ok(())
}
