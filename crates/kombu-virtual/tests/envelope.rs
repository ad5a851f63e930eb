//! Envelopes: those of Python's Kombu byte by byte, those of others with tolerance.

use kombu_core::transport::Publish;
use kombu_core::{DeliveryMode, ErrorKind, Message, Properties, Table, Tag, Value};
use kombu_virtual::envelope::{BodyEncoding, Envelope, Stamp, decode, encode, new_tag};
use proptest::prelude::*;

const TAG: &str = "00000000-0000-4000-8000-000000000000";

/// The publication of each golden envelope: see `interop/golden_envelope.py`.
fn golden(name: &str) -> Publish {
    let mut properties = Properties::new();
    properties.content_type = Some("text/plain".into());
    properties.content_encoding = Some("utf-8".into());
    let (mut body, mut exchange, mut key): (&[u8], _, _) = (b"", "", "q");
    match name {
        "plain" => body = b"hi",
        "json" => {
            (body, exchange, key) = (br#"{"a": 1}"#, "e", "a.b");
            properties.content_type = Some("application/json".into());
        }
        "bytes" => {
            body = b"\x00\xff";
            properties.content_type = Some("application/data".into());
            properties.content_encoding = Some("binary".into());
        }
        "empty" => {}
        "as text" => {
            body = br#"{"a": "h\u00e9 \"\\\n"}"#;
            properties.content_type = Some("application/json".into());
        }
        "as tagged text" => body = "hé".as_bytes(),
        "compressed" => {
            body = br#"{"a": 1}"#;
            properties.content_type = Some("application/json".into());
            properties.headers.insert("compression", "application/x-gzip");
        }
        "transient" => properties.delivery_mode = DeliveryMode::Transient,
        "priority" => properties.priority = 9,
        "properties" => {
            properties.correlation_id = Some("c".into());
            properties.reply_to = Some("r".into());
            properties.message_id = Some("m".into());
            properties.kind = Some("t".into());
            properties.user_id = Some("u".into());
            properties.app_id = Some("a".into());
            properties.cluster_id = Some("k".into());
            properties.timestamp = Some(1_577_934_245);
            properties.extra = Table::new().with("foo", "own").with("hops", 3);
            properties.expiration = Some("2500".into());
        }
        "headers" => properties.headers = headers(),
        "names" => (exchange, key) = ("é \"x\"", "世.😀"),
        other => panic!("no publication for {other:?}"),
    }
    Publish::new(exchange, key, Message::new(body.to_vec(), properties))
}

fn headers() -> Table {
    let list = vec![
        Value::from(1),
        Value::Null,
        "x".into(),
        Vec::new().into(),
        Table::new().with("a", "b").into(),
    ];
    Table::new()
        .with("bool", true)
        .with("bytes", Value::Bytes(b"\xff\xfe".to_vec().into()))
        .with("date", Value::Tagged(Tag::Date, "2020-01-02".into()))
        .with("datetime", Value::Tagged(Tag::Datetime, "2020-01-02T03:04:05.000006+00:00".into()))
        .with("decimal", Value::Decimal("1.20".into()))
        .with("empty", Table::new())
        .with("float", 0.5)
        .with("int", i64::MIN)
        .with("list", list)
        .with("null", Value::Null)
        .with("text", "é\u{2028}😀\"\\/\u{7f}\0\n\t\u{8}\u{c}\r")
        .with("time", Value::Tagged(Tag::Time, "01:02:00".into()))
        .with("utf8", Value::Bytes(b"ab".to_vec().into()))
        .with("uuid", Value::Tagged(Tag::Uuid, "00000000000000000000000000000001".into()))
}

#[test]
fn golden_envelopes_are_read_and_written_as_kombu_writes_them() {
    let file = include_bytes!("golden/envelopes.json");
    let file = kombu_core::codec::json::parse(file).unwrap();
    let envelopes = file.as_table().unwrap().get("envelopes").unwrap().as_table().unwrap();
    assert_eq!(envelopes.len(), 12);
    for (name, text) in envelopes.iter() {
        let text = text.as_str().unwrap();
        let expected = golden(name);
        let read = decode(text.as_bytes()).unwrap();
        assert_eq!(read.delivery_tag.as_deref(), Some(TAG), "{name}");
        assert!(!read.redelivered, "{name}");
        let read = read.into_publish();
        assert_eq!(read.message, expected.message, "{name}");
        assert_eq!(
            (&read.exchange, &read.routing_key),
            (&expected.exchange, &expected.routing_key)
        );
        let stamp = Stamp::new(TAG).body_encoding(match name {
            "as text" => BodyEncoding::Text,
            // Kombu tags what needs no tag.
            "as tagged text" => continue,
            _ => BodyEncoding::Base64,
        });
        assert_eq!(encode(&expected, &stamp).unwrap(), text, "{name}");
    }
}

fn read(text: &str) -> Envelope {
    decode(text.as_bytes()).expect("the test gives an envelope")
}

#[test]
fn foreign_envelopes_may_leave_much_out() {
    let bare = read(r#"{"body": "hi"}"#);
    assert_eq!(bare.message.body, "hi");
    assert_eq!((bare.exchange.as_str(), bare.delivery_tag), ("", None));
    let nulls = read(
        r#"{"body": null, "headers": null, "content-type": null, "properties":
            {"delivery_info": null, "priority": null, "correlation_id": null, "foo": null}}"#,
    );
    assert_eq!(nulls.message, Message::new("", Properties::new()));
}

#[test]
fn redelivered_is_found_in_each_of_its_places() {
    for text in [
        r#"{"body": "", "properties": {}, "redelivered": true}"#,
        r#"{"body": "", "properties": {}, "headers": {"redelivered": true}}"#,
        r#"{"body": "", "properties": {"delivery_info": {"redelivered": true}}}"#,
    ] {
        assert!(read(text).redelivered, "{text}");
    }
    let publish = Publish::new("", "q", Message::default());
    let text = encode(&publish, &Stamp::new(TAG).redelivered(true)).unwrap();
    assert!(text.ends_with(r#""}, "redelivered": true}"#), "{text}");
    assert!(read(&text).redelivered);
}

#[test]
fn priorities_are_clamped_and_may_be_texts() {
    for (given, expected) in
        [("5", 5), ("\"7\"", 7), ("12", 9), ("-3", 0), ("\"high\"", 0), ("3.9", 3), ("[]", 0)]
    {
        let text = format!(r#"{{"body": "", "properties": {{"priority": {given}}}}}"#);
        assert_eq!(read(&text).message.properties.priority, expected, "{given}");
    }
    let mut properties = Properties::new();
    properties.priority = 200;
    let publish = Publish::new("", "q", Message::new("", properties));
    assert!(encode(&publish, &Stamp::new(TAG)).unwrap().contains(r#""priority": 9,"#));
}

#[test]
fn python_s_json_is_read_where_it_is_none() {
    let text = r#"{"body": "", "properties": {},
                   "headers": {"nan": NaN, "low": -Infinity, "half": "\ud800", "big": 1e999}}"#;
    let headers = read(text).message.properties.headers;
    assert!(headers.get("nan").unwrap().as_f64().unwrap().is_nan());
    assert_eq!(headers.get("low").unwrap().as_f64(), Some(f64::NEG_INFINITY));
    assert_eq!(headers.get("half").unwrap().as_str(), Some("\u{fffd}"));
}

#[test]
fn a_header_with_an_unknown_tag_stays_an_object() {
    let text = r#"{"body": "", "properties": {},
        "headers": {"odd": {"__type__": "colour", "__value__": "red"},
                    "good": {"__type__": "decimal", "__value__": "1.5"}}}"#;
    let headers = read(text).message.properties.headers;
    assert_eq!(headers.get("good"), Some(&Value::Decimal("1.5".into())));
    let odd = headers.get("odd").unwrap().as_table().unwrap();
    assert_eq!(odd.get("__value__").unwrap().as_str(), Some("red"));
}

#[test]
fn base64_is_read_with_blanks_and_without_padding() {
    for body in ["aGVsbG8=", "aGVsbG8", "aGVs\\nbG8=", " aGVsbG8="] {
        let text = format!(r#"{{"body": "{body}", "properties": {{"body_encoding": "base64"}}}}"#);
        assert_eq!(read(&text).message.body, "hello", "{body}");
    }
}

#[test]
fn rubbish_is_refused_in_words() {
    for (text, words) in [
        ("", "an object should be here"),
        ("[]", "an object should be here"),
        ("\"text\"", "an object should be here"),
        ("{}", "\"body\""),
        (r#"{"body": "", "properties": []}"#, "\"properties\""),
        (r#"{"body": "", "properties": {}} x"#, "the end of the text"),
        (r#"{"body": "", "properties": {"priority": 1"#, "a closing bracket"),
        (r#"{"body": "a", "properties": {"body_encoding": "base64"}}"#, "base64"),
    ] {
        let error = decode(text.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode, "{text}");
        assert!(error.to_string().contains(words), "{text}: {error}");
    }
    assert_eq!(decode(b"\xff").unwrap_err().kind(), ErrorKind::Decode);
}

#[test]
fn a_body_that_is_no_text_is_written_in_base64() {
    let publish = Publish::new("", "q", Message::new(vec![0xff], Properties::new()));
    let stamp = Stamp::new(TAG).body_encoding(BodyEncoding::Text);
    let text = encode(&publish, &stamp).unwrap();
    assert!(text.contains(r#""body": "/w==""#) && text.contains(r#""body_encoding": "base64""#));
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("finite", |float| float.is_finite()).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        prop::collection::vec(any::<u8>(), 0..9).prop_map(|bytes| Value::Bytes(bytes.into())),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((".{0,4}", inner), 0..4)
                .prop_map(|fields| fields.into_iter().collect::<Table>().into()),
        ]
    })
}

prop_compose! {
    fn publication()(
        body in prop::collection::vec(any::<u8>(), 0..60),
        exchange in ".{0,6}",
        key in ".{0,10}",
        texts in prop::collection::vec(prop::option::of(".{0,6}"), 9),
        headers in prop::collection::vec((".{0,4}", value()), 0..5),
        priority in 0..10_u8,
        transient in any::<bool>(),
        timestamp in prop::option::of(0..i64::MAX.cast_unsigned()),
    ) -> Publish {
        let mut properties = Properties::new();
        let mut texts = texts.into_iter();
        let mut text = || texts.next().flatten();
        properties.content_type = text().map(Into::into);
        properties.content_encoding = text().map(Into::into);
        properties.correlation_id = text();
        properties.reply_to = text();
        properties.message_id = text();
        properties.kind = text();
        properties.user_id = text();
        properties.app_id = text();
        properties.expiration = text();
        properties.headers = headers.into_iter().collect();
        properties.priority = priority;
        properties.timestamp = timestamp;
        if transient {
            properties.delivery_mode = DeliveryMode::Transient;
        }
        Publish::new(exchange, key, Message::new(body, properties))
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(publish in publication(), as_text in any::<bool>()) {
        let tag = new_tag();
        let encoding = if as_text { BodyEncoding::Text } else { BodyEncoding::Base64 };
        let text = encode(&publish, &Stamp::new(&tag).body_encoding(encoding)).unwrap();
        prop_assert!(text.is_ascii());
        let envelope = decode(text.as_bytes()).unwrap();
        prop_assert_eq!(envelope.delivery_tag.as_deref(), Some(tag.as_str()));
        let redelivered = publish.message.properties.headers.get("redelivered");
        prop_assert_eq!(envelope.redelivered, redelivered == Some(&Value::from(true)));
        let read = envelope.into_publish();
        prop_assert_eq!(&read.message, &publish.message);
        prop_assert_eq!(
            (read.exchange, read.routing_key),
            (publish.exchange, publish.routing_key)
        );
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _read_or_refused = decode(&bytes);
    }

    #[test]
    fn a_damaged_envelope_is_read_or_refused(
        publish in publication(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut text = encode(&publish, &Stamp::new(TAG)).unwrap().into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        let _read_or_refused = decode(&text);
        text.truncate(at);
        prop_assert!(decode(&text).is_err());
    }
}
