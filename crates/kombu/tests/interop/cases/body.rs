//! Bodies: serializers, tagged values, compression, and what is not accepted.

use serde_json::{Value as Json, json};

use crate::case::cases;
use crate::failure::Result;
use crate::notation::{bytes, date, datetime, decimal, float, int, time, uuid};
use crate::pair::Pair;
use crate::post::Post;
use crate::side::Language;

cases! {
    json_of_every_shape [];
    tagged_values [];
    unicode [];
    not_a_number [];
    integers_of_any_size [];
    the_serializer_follows_the_value [];
    a_text_as_json [];
    text [];
    empty_text ["empty_text"];
    raw [];
    long [];
    compressed [];
    compressed_text_and_bytes [];
    what_is_not_accepted_stops_nobody ["publishing_order"];
    broken_json_stops_nobody [];
    pickles_are_not_opened ["from python"];
}

/// Sends a JSON body and expects it to arrive as it is.
async fn exchange(pair: &mut Pair, body: Json) -> Result<()> {
    let seen = pair.round_trip(body.clone(), |post| post.option("serializer", "json")).await?;
    assert_eq!(seen.content_type, "application/json");
    assert_eq!(seen.content_encoding, "utf-8");
    assert_eq!(seen.json()?, &body);
    Ok(())
}

async fn json_of_every_shape(pair: &mut Pair) -> Result<()> {
    let mut deep = json!("the bottom");
    for _ in 0..50 {
        deep = json!({ "deeper": [deep] });
    }
    for body in [
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(2.0),
        json!(""),
        json!("text"),
        json!([]),
        json!({}),
        json!([1, "two", [3.0, null, false], { "four": { "five": [] } }]),
        json!({ "__type__": "datetime" }),
        json!({ "__type__": "datetime", "__value__": 1, "third": "key" }),
        deep,
    ] {
        exchange(pair, body).await?;
    }
    Ok(())
}

async fn tagged_values(pair: &mut Pair) -> Result<()> {
    let body = json!({
        "datetime": datetime("2026-01-02T03:04:05.000006+00:00"),
        "offset": datetime("2026-01-02T03:04:05+05:30"),
        "without zone": datetime("2026-01-02T03:04:05"),
        "date": date("2026-01-02"),
        "time": time("03:04:05"),
        "short time": time("03:04:05.500000"),
        "decimal": decimal("12.340"),
        "exponent": decimal("1E+30"),
        "digits": decimal("123456789012345678901234567890.12345"),
        "uuid": uuid("6f4ed3f2-43a5-4a8c-8d2e-0a3b6d6c1f10"),
        "text bytes": bytes("grüße".as_bytes()),
        "no bytes": bytes(b""),
        "bytes": bytes(b"\xff\xfe\x00"),
        "nested": [{ "list": [date("1999-12-31"), [bytes(b"\x80"), decimal("-0")]] }],
    });
    exchange(pair, body).await?;
    // Also at the top.
    for body in
        [datetime("2026-01-02T03:04:05+00:00"), uuid("00000000-0000-0000-0000-000000000005")]
    {
        exchange(pair, body).await?;
    }
    Ok(())
}

async fn unicode(pair: &mut Pair) -> Result<()> {
    exchange(
        pair,
        json!({
            "grüße": "世界 🎬 \u{10ffff}",
            "controls": "\u{0}\u{1}\u{1f}\u{7f}\t\n\r\"\\/\u{2028}\u{2029}\u{feff}",
            "🔑": ["é", "e\u{301}"],
        }),
    )
    .await
}

async fn not_a_number(pair: &mut Pair) -> Result<()> {
    exchange(
        pair,
        json!({ "nan": float("nan"), "list": [float("inf"), float("-inf")], "tiny": 5e-324 }),
    )
    .await
}

async fn integers_of_any_size(pair: &mut Pair) -> Result<()> {
    exchange(pair, json!([i64::MAX, i64::MIN, u64::MAX, 2_147_483_648_i64, -1])).await?;

    let (large, negative) = ("1180591620717411303424", "-1180591620717411303424");
    let body = json!({ "large": [int(large), int(negative)] });
    let seen = pair.round_trip(body.clone(), |post| post).await?;
    // A value of ours has no larger integers; it keeps all digits.
    let expected = match pair.sends() {
        Language::Python => json!({ "large": [decimal(large), decimal(negative)] }),
        Language::Rust => body,
    };
    assert_eq!(seen.json()?, &expected);
    Ok(())
}

/// Without a serializer, a text is plain text and bytes are raw.
async fn the_serializer_follows_the_value(pair: &mut Pair) -> Result<()> {
    for (body, content_type, encoding) in [
        (json!("grüße"), "text/plain", "utf-8"),
        (bytes(b"\x00\xff"), "application/data", "binary"),
        (json!({ "a": 1 }), "application/json", "utf-8"),
        (json!(7), "application/json", "utf-8"),
        (json!([]), "application/json", "utf-8"),
        (decimal("1.5"), "application/json", "utf-8"),
    ] {
        let seen = pair.round_trip(body.clone(), |post| post).await?;
        assert_eq!(seen.content_type, content_type, "{body}");
        assert_eq!(seen.content_encoding, encoding, "{body}");
        assert_eq!(seen.json()?, &body);
    }
    Ok(())
}

async fn a_text_as_json(pair: &mut Pair) -> Result<()> {
    exchange(pair, json!("grüße")).await
}

async fn text(pair: &mut Pair) -> Result<()> {
    for body in ["grüße", "\u{feff}bom"] {
        text_comes_as_it_is(pair, body).await?;
    }
    Ok(())
}

async fn empty_text(pair: &mut Pair) -> Result<()> {
    text_comes_as_it_is(pair, "").await
}

async fn text_comes_as_it_is(pair: &mut Pair, body: &str) -> Result<()> {
    let seen = pair.round_trip(body, |post| post.bare("text/plain", "utf-8")).await?;
    assert_eq!(seen.content_type, "text/plain");
    assert_eq!(seen.content_encoding, "utf-8");
    assert_eq!(seen.text()?, body);
    assert_eq!(seen.raw, bytes(body.as_bytes()));
    Ok(())
}

async fn raw(pair: &mut Pair) -> Result<()> {
    for body in [bytes(b"\x00\xff\xfe"), bytes(&[0x80; 1000])] {
        let seen =
            pair.round_trip(body.clone(), |post| post.bare("application/data", "binary")).await?;
        assert_eq!(seen.content_type, "application/data");
        assert_eq!(seen.content_encoding, "binary");
        assert_eq!(seen.json()?, &body);
        assert_eq!(seen.raw, body);
    }
    Ok(())
}

/// More than two frames of AMQP.
async fn long(pair: &mut Pair) -> Result<()> {
    exchange(pair, json!({ "long": "ü".repeat(100_000) })).await
}

async fn compressed(pair: &mut Pair) -> Result<()> {
    let body = json!({ "long": "x".repeat(10_000), "date": date("2026-01-02") });
    for name in ["gzip", "zlib", "application/x-gzip"] {
        let compress = |post: Post| post.option("compression", name).header("other", 1);
        let seen = pair.round_trip(body.clone(), compress).await?;
        assert_eq!(seen.json()?, &body);
        assert_eq!(json!(seen.headers), json!({ "compression": "application/x-gzip", "other": 1 }));
    }
    Ok(())
}

async fn compressed_text_and_bytes(pair: &mut Pair) -> Result<()> {
    let compress = |post: Post| post.option("compression", "gzip");
    let seen = pair.round_trip("grüße", compress).await?;
    assert_eq!(seen.text()?, "grüße");
    assert_eq!(seen.content_type, "text/plain");
    let body = bytes(&[0xff; 500]);
    let seen = pair.round_trip(body.clone(), compress).await?;
    assert_eq!(seen.json()?, &body);
    assert_eq!(seen.content_type, "application/data");
    Ok(())
}

/// The bodies have content types that Kombu knows and that must not be read unless asked for.
async fn what_is_not_accepted_stops_nobody(pair: &mut Pair) -> Result<()> {
    let queue = pair.queue().await?;
    let types = [
        "application/x-yaml",
        "application/x-python-serialize",
        "application/x-msgpack",
        "application/x-unknown",
    ];
    for content_type in types {
        let post = Post::new(bytes(b"{}")).bare(content_type, "binary").queue(&queue);
        pair.send(post).await?;
    }
    pair.send(Post::new(json!({ "a": 1 })).queue(&queue)).await?;

    let seen = pair.receiver.receive(queue.name(), types.len() + 1).await?;
    for (seen, content_type) in seen.iter().zip(types) {
        assert_eq!(seen.content_type, content_type);
        assert_eq!(seen.body.as_ref().err().map(String::as_str), Some("ContentDisallowed"));
        assert_eq!(seen.raw, bytes(b"{}"));
    }
    assert_eq!(seen[types.len()].json()?, &json!({ "a": 1 }));
    Ok(())
}

async fn broken_json_stops_nobody(pair: &mut Pair) -> Result<()> {
    let queue = pair.queue().await?;
    let broken = [
        bytes(b"{\"a\": "),
        bytes(b"\xff\xfe"),
        bytes(br#"{"__type__": "nothing", "__value__": 1}"#),
        bytes(br#"{"__type__": "datetime", "__value__": "yesterday"}"#),
    ];
    for body in &broken {
        let post = Post::new(body.clone()).bare("application/json", "utf-8").queue(&queue);
        pair.send(post).await?;
    }
    pair.send(Post::new(json!([1])).queue(&queue)).await?;

    let seen = pair.receiver.receive(queue.name(), broken.len() + 1).await?;
    let expected = match pair.sends() {
        Language::Python => "Decode",
        Language::Rust => "DecodeError",
    };
    for (seen, body) in seen.iter().zip(&broken) {
        assert_eq!(seen.body.as_ref().err().map(String::as_str), Some(expected), "{seen:?}");
        assert_eq!(&seen.raw, body);
    }
    assert_eq!(seen[broken.len()].json()?, &json!([1]));
    Ok(())
}

/// What Python's own serializers write, to a consumer that did not ask for them.
async fn pickles_are_not_opened(pair: &mut Pair) -> Result<()> {
    let queue = pair.queue().await?;
    let body = json!({ "a": [1, null, "text"] });
    let serializers = [
        ("pickle", "application/x-python-serialize"),
        ("yaml", "application/x-yaml"),
        ("msgpack", "application/x-msgpack"),
    ];
    for (serializer, _) in serializers {
        let post = Post::new(body.clone()).option("serializer", serializer).queue(&queue);
        pair.send(post).await?;
    }
    pair.send(Post::new(body.clone()).queue(&queue)).await?;

    let seen = pair.receiver.receive(queue.name(), 4).await?;
    for (seen, (_, content_type)) in seen.iter().zip(serializers) {
        assert_eq!(seen.content_type, content_type);
        assert_eq!(seen.body.as_ref().err().map(String::as_str), Some("ContentDisallowed"));
    }
    assert_eq!(seen[3].json()?, &body);
    Ok(())
}
