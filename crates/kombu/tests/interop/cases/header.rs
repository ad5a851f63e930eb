//! Headers of every type.

use serde_json::{Value as Json, json};

use crate::case::cases;
use crate::failure::Result;
use crate::notation::{bytes, datetime, decimal, timestamp};
use crate::pair::Pair;
use crate::post::Post;
use crate::side::Language;

cases! {
    plain_values [];
    long_texts [];
    names [];
    bytes_that_are_no_text ["typed_headers"];
    bytes_that_are_text ["typed_headers"];
    decimals ["typed_headers"];
    times ["typed_headers"];
    a_strange_header_stops_nobody ["typed_headers"];
}

/// Sends headers and expects them to arrive as they are, and no others.
async fn exchange(pair: &mut Pair, headers: &[(&str, Json)]) -> Result<()> {
    let add = |post: Post| headers.iter().fold(post, |post, (n, v)| post.header(*n, v.clone()));
    let seen = pair.round_trip("x", add).await?;
    for (name, value) in headers {
        assert_eq!(seen.headers.get(*name), Some(value), "header {name}");
    }
    assert_eq!(seen.headers.len(), headers.len(), "{:?}", seen.headers);
    Ok(())
}

async fn plain_values(pair: &mut Pair) -> Result<()> {
    let deep = json!({ "list": [1, "two", { "three": [3.5, null, [true, []]] }], "empty": {} });
    let headers = [
        ("text", json!("text")),
        ("empty", json!("")),
        ("letters", json!("grüße, 世界, 🎬, \u{0}")),
        ("zero", json!(0)),
        ("int", json!(7)),
        ("negative", json!(-7)),
        ("most of 31 bits", json!(2_147_483_647)),
        ("least of 31 bits", json!(-2_147_483_648_i64)),
        ("more than 31 bits", json!(2_147_483_648_i64)),
        ("large", json!(5_000_000_000_i64)),
        ("large negative", json!(-5_000_000_000_i64)),
        ("largest", json!(i64::MAX)),
        ("smallest", json!(i64::MIN)),
        ("float", json!(1.5)),
        ("whole float", json!(2.0)),
        ("small float", json!(5e-324)),
        ("negative float", json!(-1e300)),
        ("true", json!(true)),
        ("false", json!(false)),
        ("none", json!(null)),
        ("nested", deep),
    ];
    exchange(pair, &headers).await
}

/// The headers of a message are one frame, of 128 KiB as both sides wish for.
async fn long_texts(pair: &mut Pair) -> Result<()> {
    exchange(pair, &[("ascii", json!("x".repeat(70_000))), ("other", json!("ü".repeat(20_000)))])
        .await
}

async fn names(pair: &mut Pair) -> Result<()> {
    let longest = "n".repeat(255);
    let letters = "é".repeat(127);
    let headers = [
        ("", json!("empty")),
        ("schlüssel", json!(1)),
        ("鍵 🔑", json!(2)),
        ("with space and = and \"", json!(3)),
        (longest.as_str(), json!(4)),
        (letters.as_str(), json!({ "ключ": 5 })),
    ];
    exchange(pair, &headers).await
}

/// Python sends bytes as AMQP's texts, and Rust as bytes; both arrive as bytes.
async fn bytes_that_are_no_text(pair: &mut Pair) -> Result<()> {
    let headers =
        [("b", bytes(b"\xff\xfe")), ("list", json!([bytes(b"\x80")])), ("ok", json!("after"))];
    exchange(pair, &headers).await
}

/// What Python sends as bytes is a text on the wire, and so is what Rust receives.
async fn bytes_that_are_text(pair: &mut Pair) -> Result<()> {
    let seen = pair.round_trip("x", |post| post.header("b", bytes(b"text"))).await?;
    let expected = match (pair.sends(), pair.stage.ground().transport.name) {
        (Language::Python, "amqp") => json!("text"),
        _ => bytes(b"text"),
    };
    assert_eq!(seen.headers["b"], expected);
    Ok(())
}

async fn decimals(pair: &mut Pair) -> Result<()> {
    let headers = [
        ("price", decimal("19.99")),
        ("negative", decimal("-0.05")),
        ("whole", decimal("7")),
        ("nested", json!({ "list": [decimal("0.000001")] })),
    ];
    exchange(pair, &headers).await
}

/// Times are whole seconds on AMQP: Python reads them as a datetime without a zone, Rust as a
/// timestamp.
async fn times(pair: &mut Pair) -> Result<()> {
    let (theirs, ours) = (datetime("2026-01-02T03:04:05+00:00"), timestamp(1_767_323_045));
    let sent = match pair.sends() {
        Language::Python => theirs.clone(),
        Language::Rust => ours.clone(),
    };
    let seen = pair.round_trip("x", |post| post.header("when", json!([sent]))).await?;
    let expected = match (pair.sends(), pair.stage.ground().transport.name) {
        (Language::Python, "amqp") => ours,
        (Language::Rust, "amqp") => datetime("2026-01-02T03:04:05"),
        _ => theirs,
    };
    assert_eq!(seen.headers["when"], json!([expected]));
    Ok(())
}

/// The consumer and the link go on.
async fn a_strange_header_stops_nobody(pair: &mut Pair) -> Result<()> {
    let queue = pair.queue().await?;
    let post = |body: i64| Post::new(body).queue(&queue);
    pair.send(post(1).header("n", 5_000_000_000_i64)).await?;
    pair.send(post(2).header("b", bytes(b"\xff\xfe"))).await?;
    pair.send(post(3).header("d", json!({ "x": [decimal("1.50"), null, -1.0e-300] }))).await?;
    pair.send(post(4)).await?;
    let seen = pair.receiver.receive(queue.name(), 4).await?;
    let bodies: Vec<_> = seen.iter().map(|seen| seen.json().cloned()).collect::<Result<_>>()?;
    assert_eq!(bodies, [json!(1), json!(2), json!(3), json!(4)]);
    Ok(())
}
