//! Runs cases, and what they share.

use std::env;
use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kombu_core::transport::{
    ConnectParams, Consume, ConsumerTag, Get, Inbox, Publish, RawChannel, RawConnection,
    RawDelivery, Transport as _, sink,
};
use kombu_core::{BrokerUrl, Error, Message, Options, Properties, Queue, Result};
use kombu_transport_amqp::AmqpTransport;
use libtest_mimic::{Arguments, Completion, Failed, Trial};

type Act = fn(Stage) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// A case.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// The variables that it needs, without `KOMBU_TEST_AMQP_`.
    pub(crate) needs: &'static [&'static str],
    /// Whether it disturbs others.
    pub(crate) alone: bool,
    pub(crate) act: Act,
}

/// Makes cases of async functions: `cases![name, name (NEEDS, …), name alone (NEEDS, …)]`.
#[macro_export]
macro_rules! cases {
    ($($name:ident $($alone:ident)? $(($($need:literal),*))?),* $(,)?) => {
        vec![$($crate::stage::Case {
            name: stringify!($name),
            needs: &["URL" $($(, $need)*)?],
            alone: $crate::cases!(@alone $($alone)?),
            act: |stage| Box::pin($name(stage)),
        }),*]
    };
    (@alone) => { false };
    (@alone alone) => { true };
}

/// Runs cases as a test program does.
pub(crate) fn run(groups: impl IntoIterator<Item = Vec<Case>>) -> ExitCode {
    let arguments = Arguments::from_args();
    let cases: Vec<_> = groups.into_iter().flatten().collect();
    let (alone, together): (Vec<_>, Vec<_>) = cases.into_iter().partition(|case| case.alone);
    let mut good = true;
    for (cases, threads) in [(together, 8), (alone, 1)] {
        if cases.is_empty() {
            continue;
        }
        let mut arguments = arguments.clone();
        if threads == 1 || arguments.test_threads.is_none() {
            arguments.test_threads = Some(threads);
        }
        let trials = cases.into_iter().map(trial).collect();
        good &= !libtest_mimic::run(&arguments, trials).has_failed();
    }
    if good { ExitCode::SUCCESS } else { ExitCode::from(101) }
}

fn trial(case: Case) -> Trial {
    Trial::ignorable_test(case.name, move || {
        for need in case.needs {
            let variable = format!("KOMBU_TEST_AMQP_{need}");
            if env::var(&variable).is_ok_and(|value| !value.is_empty()) {
                continue;
            }
            let reason = format!("{variable} is not set");
            return if env::var("KOMBU_REQUIRE_BROKERS").is_ok_and(|value| value == "1") {
                Err(Failed::from(reason))
            } else {
                Ok(Completion::ignored_with(reason))
            };
        }
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let stage = Stage::new();
        let act = case.act;
        let result = runtime
            .block_on(async move { tokio::time::timeout(LIMIT, tokio::spawn(act(stage))).await });
        runtime.shutdown_timeout(Duration::from_secs(5));
        match result {
            Ok(Ok(())) => Ok(Completion::Completed),
            Ok(Err(panic)) => Err(Failed::from(format!("{:?}", text(panic.into_panic())))),
            Err(_elapsed) => Err(Failed::from(format!("no end within {LIMIT:?}"))),
        }
    })
}

fn text(panic: Box<dyn std::any::Any + Send>) -> String {
    let text = panic.downcast::<String>().map(|text| *text);
    text.or_else(|panic| panic.downcast::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|_| "a panic without words".to_owned())
}

/// Names of its own for a case, and the ways to the broker.
#[derive(Debug)]
pub(crate) struct Stage {
    prefix: String,
}

impl Stage {
    fn new() -> Self {
        static CASES: AtomicUsize = AtomicUsize::new(0);
        let number = CASES.fetch_add(1, Ordering::Relaxed);
        Self { prefix: format!("kombu-test-{}-{number}", std::process::id()) }
    }

    /// A name that no other case has.
    pub(crate) fn name(&self, what: &str) -> String {
        format!("{}-{what}", self.prefix)
    }

    /// A connection with these options.
    pub(crate) async fn connect_with(&self, options: &[(&str, &str)]) -> Arc<dyn RawConnection> {
        connect(&variable("URL"), options).await.expect("connect")
    }

    /// A connection.
    pub(crate) async fn connect(&self) -> Arc<dyn RawConnection> {
        self.connect_with(&[]).await
    }

    /// A connection and a channel.
    pub(crate) async fn channel(&self) -> (Arc<dyn RawConnection>, Arc<dyn RawChannel>) {
        let connection = self.connect().await;
        let channel = connection.open_channel().await.expect("channel");
        (connection, channel)
    }

    /// A queue that goes when the tests are over.
    pub(crate) async fn queue(&self, channel: &Arc<dyn RawChannel>) -> String {
        let name = self.name("queue");
        let queue = Queue::new(&name).expires(Duration::from_secs(120));
        channel.declare_queue(&queue).await.expect("declare");
        name
    }
}

/// The value of `KOMBU_TEST_AMQP_<name>`.
pub(crate) fn variable(name: &str) -> String {
    env::var(format!("KOMBU_TEST_AMQP_{name}")).expect("a need of the case")
}

/// Connects to a URL, with further options.
pub(crate) async fn connect(url: &str, options: &[(&str, &str)]) -> Result<Arc<dyn RawConnection>> {
    let options: Options = options.iter().copied().collect();
    let params = ConnectParams::new(BrokerUrl::parse(url)?, options)?;
    AmqpTransport::new().connect(&params).await
}

/// The error of a connection that must not come about.
pub(crate) async fn refused(url: &str, options: &[(&str, &str)]) -> Error {
    let connecting = tokio::time::timeout(SOON, connect(url, options)).await;
    connecting.expect("an answer in time").map(drop).expect_err("a refusal")
}

/// A message of a body.
pub(crate) fn message(body: impl Into<bytes::Bytes>) -> Message {
    Message::new(body, Properties::new())
}

/// A publish to a queue.
pub(crate) fn to_queue(queue: &str, message: Message) -> Arc<Publish> {
    Arc::new(Publish::new("", queue, message))
}

/// Publishes and awaits the confirm.
pub(crate) async fn publish(channel: &Arc<dyn RawChannel>, publish: Arc<Publish>) -> Result<()> {
    let confirm = channel.publish(publish).await?;
    soon(confirm).await
}

/// Starts a consumer.
pub(crate) async fn consume(
    channel: &Arc<dyn RawChannel>,
    queue: &str,
    tag: &str,
    set: impl FnOnce(&mut Consume),
) -> Inbox {
    let (sink, inbox) = sink(16);
    let mut request = Consume::new(queue, ConsumerTag::new(tag), sink);
    set(&mut request);
    channel.consume(request).await.expect("consume");
    inbox
}

/// Takes so many deliveries out of an inbox.
pub(crate) async fn take(inbox: &mut Inbox, count: usize) -> Vec<RawDelivery> {
    let mut taken = Vec::new();
    while taken.len() < count {
        taken.extend(soon(inbox.next()).await.expect("a delivery"));
    }
    taken
}

/// Gets a message, as soon as there is one.
pub(crate) async fn get(channel: &Arc<dyn RawChannel>, queue: &str) -> RawDelivery {
    let request = Get::new(queue);
    soon(async {
        loop {
            if let Some(delivery) = channel.get(&request).await.expect("get") {
                return delivery;
            }
        }
    })
    .await
}

/// The result of a future that is ready now.
pub(crate) async fn poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    futures_util::future::poll_immediate(Box::pin(future)).await
}

/// Waits for what should happen soon.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future).await.expect("it should have happened by now")
}

/// Waits until a condition holds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let start = std::time::Instant::now();
    while !holds().await {
        assert!(start.elapsed() < SOON, "not in time: {what}");
        tokio::task::yield_now().await;
    }
}

/// How many messages of a queue wait, and how many consumers it has.
pub(crate) async fn counts(channel: &Arc<dyn RawChannel>, queue: &str) -> (u64, u32) {
    let info = channel.declare_queue(&Queue::new(queue).passive(true)).await.expect("counts");
    (info.messages, info.consumers)
}

/// No case may take longer.
const LIMIT: Duration = Duration::from_secs(90);
/// What should happen soon has so long.
pub(crate) const SOON: Duration = Duration::from_secs(15);
