//! Every serializer with every compression.

use serde_json::{Value as Json, json};

use crate::case::cases;
use crate::failure::Result;
use crate::notation::{bytes, date, datetime, decimal, float, time, uuid};
use crate::pair::Pair;
use crate::post::Post;
use crate::side::Language;

cases! {
    every_serializer_with_every_compression [];
    yaml_of_every_kind [];
    msgpack_of_every_kind [];
    pickles_of_plain_data [];
    pickles_of_anything_else_stop_nobody [];
}

/// The serializers by the names that Kombu has for them, and what they send.
const SERIALIZERS: [(&str, &str, &str); 6] = [
    ("json", "application/json", "utf-8"),
    ("msgpack", "application/x-msgpack", "binary"),
    ("pickle", "application/x-python-serialize", "binary"),
    ("raw", "application/data", "binary"),
    // Without a serializer a text is plain text.
    ("text", "text/plain", "utf-8"),
    ("yaml", "application/x-yaml", "utf-8"),
];

/// The compressions by name, and what their header says.
const COMPRESSIONS: [(&str, &str); 10] = [
    ("brotli", "application/x-brotli"),
    ("bzip", "application/x-bz2"),
    ("bzip2", "application/x-bz2"),
    ("gzip", "application/x-gzip"),
    ("lzma", "application/x-lzma"),
    ("xz", "application/x-lzma"),
    ("zlib", "application/x-gzip"),
    ("zstandard", "application/zstd"),
    ("zstd", "application/zstd"),
    ("", ""),
];

/// The serializers that must be asked for.
const ASKED_FOR: [&str; 3] = ["msgpack", "pickle", "yaml"];

fn body(serializer: &str) -> Json {
    match serializer {
        "raw" => bytes(b"\x00\xff\xfe binary"),
        "text" => json!("gr\u{fc}\u{df}e \u{4f60}\u{597d} \u{1f600}\n"),
        _ => json!({
            "text": "gr\u{fc}\u{df}e \u{4f60}\u{597d} \u{1f600}\n",
            "numbers": [0, -1, 1.5, i64::MAX, i64::MIN, u64::MAX],
            "nothing": null,
            "truths": [true, false],
            "bytes": bytes(b"\x00\xff\xfe"),
            "nested": { "list": [[], {}, [{ "a": "b" }]] },
            "long": "x".repeat(2000),
        }),
    }
}

fn post(serializer: &str, body: Json) -> Post {
    match serializer {
        "text" => Post::new(body),
        _ => Post::new(body).option("serializer", serializer),
    }
}

async fn every_serializer_with_every_compression(pair: &mut Pair) -> Result<()> {
    pair.receiver.accept(&ASKED_FOR);
    let queue = pair.queue().await?;
    for (serializer, content_type, encoding) in SERIALIZERS {
        for (compression, header) in COMPRESSIONS {
            let mut post = post(serializer, body(serializer)).queue(&queue);
            if !compression.is_empty() {
                post = post.option("compression", compression);
            }
            pair.send(post).await?;
            let seen = pair.receive_one(&queue).await?;
            let what = format!("{serializer} with {compression:?}");
            assert_eq!(seen.content_type, content_type, "{what}");
            assert_eq!(seen.content_encoding, encoding, "{what}");
            assert_eq!(seen.body.as_ref(), Ok(&body(serializer)), "{what}");
            let said = seen.headers.get("compression").and_then(Json::as_str).unwrap_or_default();
            assert_eq!(said, header, "{what}");
        }
    }
    Ok(())
}

/// Sends a body by a serializer and expects it to arrive as it is.
async fn exchange(pair: &mut Pair, serializer: &str, body: Json) -> Result<()> {
    pair.receiver.accept(&ASKED_FOR);
    let serialized = |post: Post| post.option("serializer", serializer);
    let seen = pair.round_trip(body.clone(), serialized).await?;
    assert_eq!(seen.json()?, &body);
    Ok(())
}

async fn yaml_of_every_kind(pair: &mut Pair) -> Result<()> {
    let texts =
        ["yes", "No", "~", "1", "1.5", "012", "1:30", "2020-01-02", "<<", "=", "a: b", "", " x "];
    let body = json!({
        "texts": texts,
        "floats": [0.1, -0.0, 1e16, 1e-7, float("nan"), float("inf"), float("-inf")],
        "date": date("2026-01-02"),
        "datetime": datetime("2026-01-02T03:04:05.000006+00:00"),
        "offset": datetime("2026-01-02T03:04:05+05:30"),
        "without zone": datetime("2026-01-02T03:04:05"),
        "bytes": [bytes(b"\xff"), bytes(b"")],
        "yes": { "no": null },
    });
    exchange(pair, "yaml", body).await?;
    for body in [json!("null"), json!(null), json!([]), json!({}), json!([[[]]]), json!(true)] {
        exchange(pair, "yaml", body).await?;
    }
    Ok(())
}

async fn msgpack_of_every_kind(pair: &mut Pair) -> Result<()> {
    let numbers = [-1, -32, -33, -128, -129, 0, 127, 128, 255, 256, 65_535, 65_536, i64::MIN];
    let body = json!({
        "numbers": numbers,
        "floats": [0.1, -0.0, 1e300, float("nan"), float("inf"), float("-inf")],
        "bytes": [bytes(b"\xff"), bytes(b""), bytes(&[7; 300])],
        "lists": [[], (0..20).collect::<Vec<_>>(), (0..70_000).collect::<Vec<_>>()],
        "texts": ["", "x".repeat(31), "x".repeat(32), "x".repeat(256), "x".repeat(70_000)],
    });
    exchange(pair, "msgpack", body).await
}

async fn pickles_of_plain_data(pair: &mut Pair) -> Result<()> {
    let body = json!({
        "numbers": [0, 255, 256, 65_536, -1, i64::MIN, u64::MAX],
        "floats": [0.1, -0.0, float("nan"), float("inf"), float("-inf")],
        "bytes": [bytes(b"\xff"), bytes(b""), bytes(&[7; 300])],
        "date": date("2026-01-02"),
        "datetime": datetime("2026-01-02T03:04:05.000006+00:00"),
        "offset": datetime("2026-01-02T03:04:05-05:30"),
        "without zone": datetime("2026-01-02T03:04:05"),
        "times": [time("03:04:05"), time("03:04:05.500000+01:00")],
        "decimals": [decimal("12.340"), decimal("-1E+30"), decimal("NaN")],
        "uuid": uuid("6f4ed3f2-43a5-4a8c-8d2e-0a3b6d6c1f10"),
        "texts": ["", "gr\u{fc}\u{df}e", "x".repeat(70_000)],
        "nested": [[{}, [[]]], { "a": { "b": [] } }],
    });
    exchange(pair, "pickle", body).await
}

/// A pickle that is a call of a function, which Python would run: here it must stay what it is.
async fn pickles_of_anything_else_stop_nobody(pair: &mut Pair) -> Result<()> {
    pair.receiver.accept(&ASKED_FOR);
    let queue = pair.queue().await?;
    // len([]): it does no harm where Python receives it.
    let call = bytes(b"cbuiltins\nlen\n(]tR.");
    let cut = bytes(b"\x80\x04]");
    for body in [&call, &cut] {
        let post = Post::new(body.clone()).bare("application/x-python-serialize", "binary");
        pair.send(post.queue(&queue)).await?;
    }
    pair.send(post("pickle", json!([1])).queue(&queue)).await?;
    let seen = pair.receiver.receive(queue.name(), 3).await?;
    match pair.sends() {
        Language::Python => {
            for seen in &seen[..2] {
                assert_eq!(
                    seen.body.as_ref().err().map(String::as_str),
                    Some("Decode"),
                    "{seen:?}"
                );
            }
        }
        Language::Rust => {
            assert_eq!(seen[1].body.as_ref().err().map(String::as_str), Some("DecodeError"));
        }
    }
    assert_eq!(seen[2].json()?, &json!([1]));
    Ok(())
}
