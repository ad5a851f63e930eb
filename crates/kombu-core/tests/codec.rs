//! Bodies against Python's Kombu (golden files that `interop/golden_core.py` makes), codecs,
//! accept lists, compression, and properties of the JSON parser.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use kombu_core::codec::json::{JsonRules, MAX_DEPTH, Tagged, parse, untag, write};
use kombu_core::{
    Accept, Codec as _, Codecs, Compressions, Encoded, ErrorKind, Json, Raw, Table, Tag, Text,
    Value,
};
use proptest::collection::{btree_map, vec};
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use serde::{Deserialize, Serialize};

// ---- golden files ----

#[derive(Deserialize)]
struct FromPython {
    bodies: Vec<PythonBody>,
    texts: Vec<PythonText>,
    compressed: Vec<CompressedBody>,
}

#[derive(Deserialize)]
struct PythonBody {
    name: String,
    serializer: Option<String>,
    content_type: String,
    content_encoding: String,
    body: String,
}

#[derive(Deserialize)]
struct PythonText {
    text: String,
    reads: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct FromRust {
    bodies: Vec<RustBody>,
    compressed: Vec<CompressedBody>,
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct RustBody {
    name: String,
    content_type: String,
    content_encoding: String,
    body: String,
}

#[derive(Deserialize, Serialize)]
struct CompressedBody {
    name: String,
    content_type: String,
    plain: String,
    body: String,
}

fn golden(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file)
}

fn from_python() -> FromPython {
    let text = std::fs::read(golden("python.json")).expect("it is checked in");
    serde_json::from_slice(&text).expect("the generator wrote it")
}

fn bytes(base64: &str) -> Vec<u8> {
    BASE64.decode(base64).expect("the golden files hold base64")
}

/// The values of `BODIES` in `interop/golden_core.py`.
fn expected() -> BTreeMap<&'static str, Value> {
    let text = |text: &str| Value::Text(text.to_owned());
    let data = |bytes: &'static [u8]| Value::Bytes(Bytes::from_static(bytes));
    let decimal = |text: &str| Value::Decimal(text.to_owned());
    let tagged = |tag, text: &str| Value::Tagged(tag, text.to_owned());
    let list = |items: Vec<Value>| Value::List(items);
    BTreeMap::from([
        ("null", Value::Null),
        ("true", Value::Bool(true)),
        ("int", Value::Int(42)),
        ("int_min", Value::Int(i64::MIN)),
        ("int_max", Value::Int(i64::MAX)),
        ("uint_max", Value::UInt(u64::MAX)),
        ("float", Value::Float(0.1)),
        ("float_small", Value::Float(5e-324)),
        ("float_large", Value::Float(f64::MAX)),
        ("float_whole", Value::Float(1e16)),
        ("nan", Value::Float(f64::NAN)),
        ("infinity", Value::Float(f64::INFINITY)),
        ("minus_infinity", Value::Float(f64::NEG_INFINITY)),
        ("text", text("grüße 你好 😀")),
        ("text_escapes", text("\"\\/\u{8}\u{c}\n\r\t\0\x1f\x7f\u{2028}")),
        (
            "list",
            list(vec![
                Value::Int(1),
                text("two"),
                list(vec![Value::Float(3.0), Value::Null]),
                Value::Table(Table::new()),
            ]),
        ),
        (
            "object",
            Value::Table(
                Table::new()
                    .with("a", Table::new().with("", Vec::<Value>::new()).with("ключ", false))
                    .with("b", 1),
            ),
        ),
        (
            "number_keys",
            Value::Table(
                Table::new()
                    .with("2.5", "float")
                    .with("7", "int")
                    .with("null", "null")
                    .with("true", "true"),
            ),
        ),
        ("tuple", list(vec![Value::Int(1), Value::Int(2)])),
        ("bytes", data(b"abc")),
        ("bytes_utf8", data("grüße".as_bytes())),
        ("bytes_binary", data(b"\xff\xfe\0")),
        ("bytes_empty", data(b"")),
        ("decimal", decimal("1.20")),
        ("decimal_exponent", decimal("-1E+5")),
        ("decimal_infinity", decimal("Infinity")),
        ("datetime", tagged(Tag::Datetime, "2020-01-02T03:04:05.000006")),
        ("datetime_utc", tagged(Tag::Datetime, "2020-01-02T03:04:05+00:00")),
        ("datetime_offset", tagged(Tag::Datetime, "2020-01-02T03:04:05.000006+05:30")),
        ("date", tagged(Tag::Date, "2020-02-29")),
        ("time", tagged(Tag::Time, "01:02:00")),
        ("time_offset", tagged(Tag::Time, "01:02:03.000004+05:30")),
        ("uuid", tagged(Tag::Uuid, "00000000000000000000000000000005")),
        (
            "nested",
            Value::Table(
                Table::new()
                    .with(
                        "args",
                        vec![
                            Value::Table(Table::new().with("at", tagged(Tag::Date, "2020-01-02"))),
                            data(b"x"),
                        ],
                    )
                    .with("id", tagged(Tag::Uuid, "80000000000000000000000000000000")),
            ),
        ),
        (
            "three_keys",
            Value::Table(Table::new().with("__type__", "x").with("__value__", 1).with("more", 2)),
        ),
        ("bare_text", text("grüße")),
        ("bare_bytes", data(b"\0\xff")),
        ("bare_list", list(vec![text("a")])),
        ("raw_text", text("grüße")),
        ("raw_bytes", data(b"\0\xff")),
    ])
}

/// Equality with NaN equal to itself.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Float(left), Value::Float(right)) => left.to_bits() == right.to_bits(),
        _ => left == right,
    }
}

#[test]
fn bodies_from_python_are_read() {
    let codecs = Codecs::default();
    let accept = Accept::default();
    let mut expected = expected();
    for case in from_python().bodies {
        let name = case.name.as_str();
        let value = expected.remove(name).expect("each golden body has a value here");
        let (kind, encoding) = (Some(&*case.content_type), Some(&*case.content_encoding));
        let body = bytes(&case.body);
        let read = codecs.decode_value(kind, encoding, &body, &accept).unwrap();
        assert!(same(&read, &value), "{name}: {read:?}, not {value:?}");
        let read: Value = codecs.decode(kind, encoding, &body, &accept).unwrap();
        assert!(same(&read, &value), "{name} by serde: {read:?}, not {value:?}");
    }
    assert!(expected.is_empty(), "missing in python.json: {:?}", expected.keys());
}

/// `KOMBU_BLESS=1` writes the file; then `interop/golden_core.py check` has Python read it.
#[test]
fn bodies_for_python_are_those_that_python_was_seen_to_read() {
    let codecs = Codecs::default();
    let mut serializers = from_python()
        .bodies
        .into_iter()
        .map(|case| (case.name, case.serializer))
        .collect::<HashMap<_, _>>();
    let mut values = expected();
    values.insert("timestamp", Value::Timestamp(1_582_934_400));
    values.insert("big_integer", Value::Decimal((1_u128 << 100).to_string()));
    for name in ["timestamp", "big_integer"] {
        serializers.insert(name.to_owned(), Some("json".to_owned()));
    }
    let bodies = values
        .into_iter()
        .map(|(name, value)| {
            let serializer = serializers[name].as_deref();
            let encoded = codecs.encode(serializer, &value).unwrap();
            if let Some(serializer) = serializer {
                let codec = codecs.find(serializer).unwrap();
                assert_eq!(codec.encode_value(&value).unwrap(), encoded, "{name}");
            }
            RustBody {
                name: name.to_owned(),
                content_type: encoded.content_type.into_owned(),
                content_encoding: encoded.content_encoding.into_owned(),
                body: BASE64.encode(encoded.body),
            }
        })
        .collect::<Vec<_>>();
    if std::env::var_os("KOMBU_BLESS").is_some() {
        bless(bodies);
    } else {
        let text = std::fs::read(golden("rust.json")).unwrap();
        let recorded = serde_json::from_slice::<FromRust>(&text).unwrap();
        assert_eq!(recorded.bodies, bodies);
    }
}

fn bless(bodies: Vec<RustBody>) {
    let compressed = from_python()
        .compressed
        .into_iter()
        .map(|mut case| {
            let plain = bytes(&case.plain);
            let made =
                Compressions::default().compress("gzip", &plain).expect("zlib takes anything");
            case.body = BASE64.encode(made.body);
            case
        })
        .collect();
    let text = serde_json::to_string_pretty(&FromRust { bodies, compressed }).expect("plain data");
    std::fs::write(golden("rust.json"), text + "\n").expect("the directory is there");
}

#[test]
fn python_and_rust_read_and_refuse_the_same_texts() {
    for case in from_python().texts {
        let read = parse(case.text.as_bytes()).and_then(untag);
        assert_eq!(read.is_ok(), case.reads.is_some(), "{:?}: {read:?}", case.text);
        if let Err(error) = read {
            assert_eq!(error.kind(), ErrorKind::Decode, "{:?}", case.text);
        }
    }
}

#[cfg(feature = "gzip")]
#[test]
fn bodies_that_python_compressed_are_restored() {
    let compressions = Compressions::default();
    let mut cases = from_python().compressed;
    let recorded = std::fs::read(golden("rust.json")).unwrap();
    cases.extend(serde_json::from_slice::<FromRust>(&recorded).unwrap().compressed);
    assert_eq!(cases.len(), 6);
    for case in cases {
        let plain = bytes(&case.plain);
        let body = bytes(&case.body);
        assert_eq!(compressions.decompress(&case.content_type, &body).unwrap(), plain);
    }
}

// ---- JSON ----

fn decode<T: for<'de> Deserialize<'de>>(body: &str) -> kombu_core::Result<T> {
    let json = Some("application/json");
    Codecs::default().decode(json, Some("utf-8"), body.as_bytes(), &Accept::default())
}

#[test]
fn numbers_keep_every_digit() {
    let huge = "123456789012345678901234567890";
    assert_eq!(parse(huge.as_bytes()).unwrap(), Value::Decimal(huge.to_owned()));
    assert_eq!(decode::<Value>(huge).unwrap(), Value::Decimal(huge.to_owned()));
    assert_eq!(decode::<Vec<u128>>(&format!("[{huge}]")).unwrap(), [huge.parse::<u128>().unwrap()]);
    assert_eq!(decode::<f64>(huge).unwrap(), 123_456_789_012_345_678_901_234_567_890.0);
    assert_eq!(decode::<Value>("-9223372036854775808").unwrap(), Value::Int(i64::MIN));
    let below = "-9223372036854775809";
    assert_eq!(decode::<Value>(below).unwrap(), Value::Decimal(below.to_owned()));
    assert_eq!(decode::<i128>(below).unwrap(), i128::from(i64::MIN) - 1);
    assert_eq!(write(&u128::MAX).unwrap(), u128::MAX.to_string().into_bytes());
    assert_eq!(decode::<f64>("0.1234567890123456").unwrap(), 0.123_456_789_012_345_6);
}

#[test]
fn halves_of_surrogate_pairs_become_the_replacement_character() {
    for (body, text) in [
        (r#""\ud800""#, "\u{fffd}"),
        (r#""\ud83d\ude00""#, "😀"),
        (r#""\ud800\u0041""#, "\u{fffd}A"),
        (r#""\ude00\ud83d""#, "\u{fffd}\u{fffd}"),
        (r#""\ud800\ud83d\ude00""#, "\u{fffd}😀"),
        (r#""\ud800\n""#, "\u{fffd}\n"),
    ] {
        assert_eq!(parse(body.as_bytes()).unwrap(), Value::from(text), "{body}");
        assert_eq!(decode::<String>(body).unwrap(), text, "{body}");
    }
}

#[test]
fn nesting_is_bounded_both_ways() {
    let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
    let deepest = decode::<Value>(&nested(MAX_DEPTH)).unwrap();
    assert_eq!(write(&deepest).unwrap(), nested(MAX_DEPTH).into_bytes());
    let error = decode::<Value>(&nested(MAX_DEPTH + 1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert!(error.to_string().contains("128 levels"), "{error}");
    let error = parse("[{\"a\":".repeat(1_000_000).as_bytes()).unwrap_err();
    assert!(error.to_string().contains("128 levels"), "{error}");
    let error = write(&[deepest]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encode);
    assert!(error.to_string().contains("128 levels"), "{error}");
}

#[test]
fn an_error_names_the_place() {
    let error = decode::<Value>(r#"{"a": [1, }"#).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot decode body: cannot decode: a value should be here \
         (byte=10 content_type=application/json)"
    );
    let error = decode::<Vec<u8>>("[1, 300]").unwrap_err();
    assert!(error.to_string().contains("expected u8 at line 1 column 7"), "{error}");
    let error = parse(b"\"\xff\"").unwrap_err();
    assert_eq!(error.to_string(), "cannot decode: JSON must be UTF-8 (byte=1)");
}

#[test]
fn an_empty_json_body_is_null() {
    assert_eq!(decode::<Value>("").unwrap(), Value::Null);
    assert_eq!(decode::<Option<u8>>("").unwrap(), None);
    assert_eq!(decode::<u8>("").unwrap_err().kind(), ErrorKind::Decode);
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Video {
    id: uuid::Uuid,
    recorded: String,
    price: f64,
    sum: String,
    data: Vec<u8>,
    name: String,
    kind: Kind,
    sizes: BTreeMap<u32, Option<bool>>,
    rest: Value,
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
enum Kind {
    Clip,
    Film { minutes: u32 },
    Pair(u8, u8),
    Other(String),
}

/// A body with every tag, as Python writes it, for a struct of plain Rust types.
const TAGGED_VIDEO: &str = r#"{"id": {"__type__": "uuid", "__value__": {"hex": "00000000000000000000000000000005"}},
    "recorded": {"__type__": "datetime", "__value__": "2020-01-02T03:04:05+00:00"},
    "price": {"__type__": "decimal", "__value__": "1.20"},
    "sum": {"__type__": "decimal", "__value__": "1.20"},
    "data": {"__type__": "base64", "__value__": "//4="},
    "name": {"__type__": "bytes", "__value__": "clip"},
    "kind": {"Film": {"minutes": 90}}, "sizes": {"7": true, "8": null},
    "rest": [{"__type__": "date", "__value__": "2020-01-02"}, NaN]}"#;

#[test]
fn tagged_values_fit_plain_types() {
    let video = decode::<Video>(TAGGED_VIDEO).unwrap();
    assert_eq!(video.id, uuid::Uuid::from_u128(5));
    assert_eq!(video.recorded, "2020-01-02T03:04:05+00:00");
    assert_eq!((video.price, &*video.sum), (1.2, "1.20"));
    assert_eq!((&*video.data, &*video.name), (&b"\xff\xfe"[..], "clip"));
    assert_eq!(video.kind, Kind::Film { minutes: 90 });
    assert_eq!(video.sizes, BTreeMap::from([(7, Some(true)), (8, None)]));
    let rest = video.rest.as_list().unwrap();
    assert_eq!(rest[0], Value::Tagged(Tag::Date, "2020-01-02".to_owned()));
    assert!(rest[1].as_f64().unwrap().is_nan());
}

#[test]
fn structs_survive_both_ways() {
    for kind in [Kind::Clip, Kind::Film { minutes: 3 }, Kind::Pair(1, 2), Kind::Other("x".into())] {
        let mut video = decode::<Video>(TAGGED_VIDEO).unwrap();
        video.kind = kind;
        video.rest = Value::List(expected().into_values().filter(|v| same(v, v)).collect());
        if let Value::List(rest) = &mut video.rest {
            rest.retain(|value| !matches!(value, Value::Float(number) if number.is_nan()));
            rest.push(Value::Timestamp(-1));
        }
        let value = Value::from_serialize(&video).unwrap();
        assert_eq!(value.clone().into_deserialize::<Video>().unwrap(), video);
        // JSON has no timestamps: Python's form of one is a datetime.
        let body = String::from_utf8(write(&video).unwrap()).unwrap();
        if let Value::List(rest) = &mut video.rest {
            *rest.last_mut().unwrap() =
                Value::Tagged(Tag::Datetime, "1969-12-31T23:59:59+00:00".to_owned());
        }
        assert_eq!(decode::<Video>(&body).unwrap(), video);
    }
}

#[test]
fn a_timestamp_fits_numbers_and_texts() {
    let timestamp = Value::Timestamp(1_582_934_400);
    assert_eq!(timestamp.clone().into_deserialize::<u64>().unwrap(), 1_582_934_400);
    let text = timestamp.into_deserialize::<String>().unwrap();
    assert_eq!(text, "2020-02-29T00:00:00+00:00");
    let error = write(&Value::Timestamp(i64::MAX)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encode);
}

#[test]
fn values_survive_other_serde_formats() {
    let value = Value::Table(
        Table::new()
            .with("price", Value::Decimal("1.20".into()))
            .with("data", Bytes::from_static(b"\xff"))
            .with("id", Value::Tagged(Tag::Uuid, "00000000000000000000000000000005".into())),
    );
    let text = serde_json::to_string(&value).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    let error = serde_json::from_str::<Value>(r#"{"__type__":"x","__value__":1}"#).unwrap_err();
    assert!(error.to_string().contains(r#"unknown __type__ "x""#), "{error}");
}

#[test]
fn keys_that_are_no_texts_are_refused() {
    let map = BTreeMap::from([(vec![1], 1)]);
    assert_eq!(write(&map).unwrap_err().kind(), ErrorKind::Encode);
    assert_eq!(Value::from_serialize(&map).unwrap_err().kind(), ErrorKind::Encode);
    let map = BTreeMap::from([((), 1)]);
    assert_eq!(write(&map).unwrap(), br#"{"null":1}"#);
    let map = BTreeMap::from([(true, 1)]);
    assert_eq!(write(&map).unwrap(), br#"{"true":1}"#);
}

// ---- the set of codecs ----

fn encode<T: Serialize + ?Sized>(serializer: Option<&str>, data: &T) -> Encoded {
    Codecs::default().encode(serializer, data).expect("it has a JSON form")
}

#[test]
fn without_a_serializer_text_and_bytes_stay_bare() {
    let kinds = |encoded: Encoded| (encoded.content_type, encoded.content_encoding, encoded.body);
    let text = ("text/plain".into(), "utf-8".into(), Bytes::from_static(b"a\"b"));
    assert_eq!(kinds(encode(None, "a\"b")), text);
    assert_eq!(kinds(encode(None, &Some("a\"b"))), text);
    assert_eq!(kinds(encode(None, &Value::from("a\"b"))), text);
    let data = ("application/data".into(), "binary".into(), Bytes::from_static(b"\0\xff"));
    assert_eq!(kinds(encode(None, &Value::Bytes(Bytes::from_static(b"\0\xff")))), data);
    assert_eq!(kinds(encode(Some("raw"), &[0_u8, 255])), data);
    let json = ("application/json".into(), "utf-8".into(), Bytes::from_static(b"\"a\\\"b\""));
    assert_eq!(kinds(encode(Some("json"), "a\"b")), json);
    assert_eq!(kinds(encode(Some("application/json"), "a\"b")), json);
    assert_eq!(encode(None, &Kind::Clip).body, "\"Clip\"");
    let decimal = Value::Decimal("1.2".into());
    assert_eq!(encode(None, &decimal).body, r#"{"__type__":"decimal","__value__":"1.2"}"#);
}

#[test]
fn an_unknown_serializer_names_the_known_ones() {
    let error = Codecs::default().encode(Some("jsno"), &1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().contains(r#"did you mean "json"?; there are: json, "#), "{error}");
    #[cfg(not(feature = "yaml"))]
    {
        let error = Codecs::default().encode(Some("yaml"), &1).unwrap_err();
        assert!(error.to_string().contains("enable the feature `yaml`"), "{error}");
    }
    let error = Codecs::default().encode(Some("text"), &1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encode);
    let error = Codecs::default().encode(Some("raw"), &[300]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encode);
}

#[test]
fn content_types_are_let_in_by_the_accept_list_only() {
    let codecs = Codecs::default();
    let read = |kind: &str, accept: &Accept| {
        codecs.decode_value(Some(kind).filter(|kind| !kind.is_empty()), None, b"1", accept)
    };
    let refused = |kind: &str, accept: &Accept| {
        let error = read(kind, accept).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ContentDisallowed, "{kind}: {error}");
        error.to_string()
    };
    let nothing = Accept::from_iter(<[&str; 0]>::default());
    for trusted in ["", "application/data", "application/text"] {
        assert_eq!(read(trusted, &nothing).unwrap(), Value::from("1"), "{trusted}");
    }
    refused("application/json", &nothing);
    assert!(refused("text/plain", &Accept::from([Json])).contains(r#"add "text""#));
    assert_eq!(read("application/json", &Accept::from([Json])).unwrap(), Value::Int(1));
    assert_eq!(read("Application/JSON; charset=utf-8", &Accept::default()).unwrap(), Value::Int(1));
    assert_eq!(read("text/plain", &Accept::from(["text/plain"])).unwrap(), Value::from("1"));
    // A content type is no codec name.
    refused("json", &Accept::default());
    let text = refused("application/x-python-serialize", &Accept::default());
    assert!(text.contains("application/x-python-serialize"), "{text}");
    #[cfg(not(feature = "pickle"))]
    refused("application/x-python-serialize", &Accept::any_enabled());
    let raw = Accept::default().with("application/x-report");
    assert_eq!(read("application/x-report", &raw).unwrap(), Value::from("1"));
    assert_eq!(raw.check(&codecs).map_err(|error| error.kind()), Ok(()));
    let error = Accept::default().with("yml").check(&codecs).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().contains(r#"codec="yml""#), "{error}");
    assert_eq!(Accept::from(["json", "text"]), Accept::from_iter([Json.as_ref(), Text.as_ref()]),);
    assert_eq!(Raw.as_ref(), "raw");
}

#[test]
fn texts_follow_their_encoding() {
    let codecs = Codecs::default();
    let read = |encoding: &str, body: &[u8]| {
        codecs.decode_value(Some("text/plain"), Some(encoding), body, &Accept::default())
    };
    assert_eq!(read("UTF-8", "ü".as_bytes()).unwrap(), Value::from("ü"));
    assert_eq!(read("latin-1", b"\xfc").unwrap(), Value::from("ü"));
    assert_eq!(read("binary", b"\xfc").unwrap(), Value::Bytes(Bytes::from_static(b"\xfc")));
    for (encoding, body) in [("utf-8", b"\xfc"), ("ebcdic", b"a")] {
        let error = read(encoding, body).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode);
        assert!(error.to_string().contains(encoding), "{error}");
    }
}

#[test]
fn a_custom_codec_takes_the_place_of_a_built_in_one() {
    #[derive(Debug)]
    struct Shouting;

    impl kombu_core::Codec for Shouting {
        fn name(&self) -> &str {
            "json"
        }

        fn content_type(&self) -> &str {
            "application/json"
        }

        fn encode_value(&self, value: &Value) -> kombu_core::Result<Encoded> {
            let body = write(value)?.to_ascii_uppercase();
            Ok(Encoded::new(body, "application/json", "utf-8"))
        }

        fn decode_value(&self, body: &[u8], _: &str) -> kombu_core::Result<Value> {
            parse(&body.to_ascii_lowercase())
        }
    }

    let codecs = Codecs::default().with(Shouting);
    assert_eq!(codecs.iter().count(), Codecs::default().iter().count());
    assert_eq!(codecs.encode(None, &["a"]).unwrap().body, r#"["A"]"#);
    assert_eq!(codecs.encode(Some("json"), &["a"]).unwrap().body, r#"["A"]"#);
    let json = Some("application/json");
    let read: Vec<String> = codecs.decode(json, None, b"[\"A\"]", &Accept::default()).unwrap();
    assert_eq!(read, ["a"]);
}

#[test]
fn tags_of_the_users_own_are_read_and_written() {
    let seconds = |value: Value| match value.as_f64() {
        Some(seconds) if seconds >= 0.0 => Ok(Value::Float(seconds * 1000.0)),
        _ => Err(kombu_core::Error::new(ErrorKind::Decode, "no duration")),
    };
    let rules = JsonRules::new().tag("milliseconds", seconds).tag("point", Ok);
    let codecs = Codecs::default().with(rules.clone());
    let read = |codecs: &Codecs, body: &str| {
        let json = Some("application/json");
        codecs.decode_value(json, None, body.as_bytes(), &Accept::default())
    };
    let body = r#"[{"__type__":"milliseconds","__value__":1.5},{"__type__":"date","__value__":"2020-01-02"}]"#;
    let expected = vec![Value::Float(1500.0), Value::Tagged(Tag::Date, "2020-01-02".to_owned())];
    assert_eq!(read(&codecs, body).unwrap(), Value::List(expected));

    #[derive(Debug, Deserialize, PartialEq, Serialize)]
    struct Point {
        x: i32,
        y: i32,
    }
    let point = Point { x: 1, y: -2 };
    for codecs in [&codecs, &Codecs::default()] {
        let encoded = codecs.encode(Some("json"), &[Tagged::new("point", &point)]).unwrap();
        let text = r#"[{"__type__":"point","__value__":{"x":1,"y":-2}}]"#;
        assert_eq!(encoded.body, text);
    }
    let body = br#"[{"__type__":"point","__value__":{"x":1,"y":-2}}]"#;
    let points: Vec<Point> =
        codecs.decode(Some("application/json"), None, body, &Accept::default()).unwrap();
    assert_eq!(points, [point]);

    for bad in [
        r#"{"__type__":"milliseconds","__value__":-1}"#,
        r#"{"__type__":"circle","__value__":-1}"#,
        r#"{"__type__":"date","__value__":-1}"#,
    ] {
        assert_eq!(read(&codecs, bad).unwrap_err().kind(), ErrorKind::Decode, "{bad}");
    }
    let kept = Codecs::default().with(rules.keep_unknown_tags());
    let circle = Table::new().with("__type__", "circle").with("__value__", -1);
    let body = r#"{"__type__":"circle","__value__":-1}"#;
    assert_eq!(read(&kept, body).unwrap(), Value::Table(circle.clone()));
    let json = Some("application/json");
    let read_by_serde: Value =
        kept.decode(json, None, body.as_bytes(), &Accept::default()).unwrap();
    assert_eq!(read_by_serde, Value::Table(circle));
    assert!(read(&kept, r#"{"__type__":"date","__value__":-1}"#).is_err());
}

#[test]
fn strict_json_is_that_of_the_standard() {
    let strict = JsonRules::new().strict();
    for lenient in ["NaN", "[Infinity]", "-Infinity", "1e999", r#""\ud800""#, r#"["\ude00\ud83d"]"#]
    {
        assert!(parse(lenient.as_bytes()).is_ok(), "{lenient}");
        let error = strict.decode_value(lenient.as_bytes(), "utf-8").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode, "{lenient}: {error}");
        assert!(serde_json::from_str::<serde_json::Value>(lenient).is_err(), "{lenient}");
    }
    let pair = strict.decode_value(br#""\ud83d\ude00""#, "utf-8").unwrap();
    assert_eq!(pair, Value::from("\u{1f600}"));
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let error = strict.encode_value(&Value::List(vec![Value::Float(number)])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Encode);
    }
    let codecs = Codecs::default().with(strict);
    assert_eq!(codecs.encode(None, &[0.5]).unwrap().body, "[0.5]");
    assert!(codecs.encode(None, &[f64::NAN]).is_err());
}

// ---- compression ----

#[cfg(feature = "gzip")]
#[test]
fn a_bomb_is_stopped_at_the_limit() {
    let compressions = Compressions::default().limit_bytes(1000);
    for (size, fits) in [(1000, true), (1001, false), (10_000_000, false)] {
        let body = compressions.compress("zlib", &vec![0; size]).unwrap().body;
        match compressions.decompress("gzip", &body) {
            Ok(restored) => assert!(fits && restored.len() == size),
            Err(error) => {
                assert!(!fits, "{error}");
                assert_eq!(error.kind(), ErrorKind::Decode);
                assert!(error.to_string().contains("1000 bytes"), "{error}");
            }
        }
    }
}

#[cfg(feature = "gzip")]
#[test]
fn broken_streams_are_errors_and_a_tail_is_not() {
    let compressions = Compressions::default();
    let body = compressions.compress("gzip", b"hello").unwrap().body;
    assert_eq!(&body[..2], b"\x78\x9c");
    for broken in [&body[..body.len() - 1], b"", b"hello", b"\x1f\x8b\x08\0"] {
        let error = compressions.decompress("gzip", broken).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode, "{error}");
    }
    let tail = [&body[..], b"tail"].concat();
    assert_eq!(compressions.decompress("gzip", &tail).unwrap(), "hello");
}

#[test]
fn an_unknown_method_names_the_known_ones() {
    let compressions = Compressions::default();
    let error = compressions.decompress("application/zstd", b"").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    #[cfg(not(feature = "zstd"))]
    assert!(error.to_string().contains("enable the feature `zstd`"), "{error}");
    #[cfg(feature = "gzip")]
    {
        let error = compressions.compress("gzp", b"").unwrap_err();
        assert!(error.to_string().contains(r#"did you mean "gzip"?"#), "{error}");
    }
    let error = compressions.compress("rar", b"").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    let known = compressions.iter().next().map_or("none", |method| method.aliases()[0]);
    assert!(error.to_string().contains(&format!("there are: {known}")), "{error}");
    if cfg!(not(feature = "gzip")) {
        let error = compressions.compress("zlib", b"").unwrap_err();
        assert!(error.to_string().contains("enable the feature `gzip`"), "{error}");
    }
}

// ---- properties ----

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| Value::Float(if number.is_nan() { 0.5 } else { number })),
        any::<String>().prop_map(Value::Text),
        vec(any::<u8>(), 0..20).prop_map(|bytes| Value::Bytes(bytes.into())),
        "-?[0-9]{1,25}(\\.[0-9]{1,9})?(E[+-][0-9]{1,3})?".prop_map(Value::Decimal),
        any::<u128>().prop_map(|id| Value::Tagged(Tag::Uuid, format!("{id:032x}"))),
        "[12][0-9]{3}-0[1-9]-[012][1-8]T[01][0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{6})?(\\+05:30)?"
            .prop_map(|text| Value::Tagged(Tag::Datetime, text)),
        Just(Value::Tagged(Tag::Date, "2020-02-29".to_owned())),
        Just(Value::Tagged(Tag::Time, "01:02:03".to_owned())),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::List),
            btree_map(any::<String>(), inner, 0..6)
                .prop_map(|entries| Value::Table(entries.into_iter().collect())),
        ]
    })
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        any::<u64>().prop_map(serde_json::Value::from),
        any::<f64>().prop_map(serde_json::Value::from),
        any::<String>().prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
            btree_map(any::<String>(), inner, 0..6)
                .prop_map(|entries| serde_json::Value::Object(entries.into_iter().collect())),
        ]
    })
}

/// All letters outside ASCII as escapes, and Python's separators: how Python writes JSON.
fn as_python_writes(body: &[u8]) -> String {
    let text = std::str::from_utf8(body).expect("JSON is UTF-8");
    let mut python = String::new();
    let mut units = [0; 2];
    let (mut quoted, mut escaped) = (false, false);
    for letter in text.chars() {
        if letter == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = letter == '\\' && !escaped;
        if letter.is_ascii() {
            python.push(letter);
            if !quoted && matches!(letter, ',' | ':') {
                python.push(' ');
            }
        } else {
            for unit in letter.encode_utf16(&mut units) {
                python.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    python
}

proptest! {
    #[test]
    fn values_survive_json(value in any_value()) {
        let body = write(&value).unwrap();
        prop_assert_eq!(&untag(parse(&body).unwrap()).unwrap(), &value);
        prop_assert_eq!(&decode::<Value>(std::str::from_utf8(&body).unwrap()).unwrap(), &value);
        let python = as_python_writes(&body);
        prop_assert_eq!(&untag(parse(python.as_bytes()).unwrap()).unwrap(), &value);
    }

    #[test]
    fn values_survive_serde(value in any_value(), seconds in any::<i32>()) {
        let value = Value::List(vec![value, Value::Timestamp(seconds.into())]);
        prop_assert_eq!(&Value::from_serialize(&value).unwrap(), &value);
        prop_assert_eq!(&value.clone().into_deserialize::<Value>().unwrap(), &value);
    }

    #[test]
    fn the_parser_reads_what_serde_json_writes(json in any_json(), pretty in any::<bool>()) {
        let body = match pretty {
            true => serde_json::to_vec_pretty(&json),
            false => serde_json::to_vec(&json),
        }.unwrap();
        let value = parse(&body).unwrap();
        prop_assert_eq!(&value, &Value::from_serialize(&json).unwrap());
        prop_assert_eq!(&serde_json::from_slice::<serde_json::Value>(&write(&value).unwrap()).unwrap(), &json);
    }

    #[test]
    fn the_writer_agrees_with_serde_json(json in any_json()) {
        prop_assert_eq!(write(&json).unwrap(), serde_json::to_vec(&json).unwrap());
    }

    #[test]
    fn rubbish_is_read_or_refused(body in vec(any::<u8>(), 0..60)) {
        let _ = parse(&body).and_then(untag);
        let _ = Compressions::default().decompress("gzip", &body);
    }

    /// Near misses of JSON; whatever serde_json reads, the lenient parser reads as well.
    #[test]
    fn near_json_is_read_or_refused(body in "[\\[\\]{}:,\"\\\\uNI0-9dea.+ tn_y-]{0,24}") {
        let strict = serde_json::from_str::<serde_json::Value>(&body);
        let lenient = parse(body.as_bytes());
        prop_assert!(lenient.is_ok() || strict.is_err(), "{:?}", lenient);
    }

    #[test]
    fn cut_bodies_are_refused(value in any_value(), cut in any::<proptest::sample::Index>()) {
        let body = write(&vec![value]).unwrap();
        prop_assert!(parse(&body[..cut.index(body.len())]).is_err());
    }

    #[cfg(feature = "gzip")]
    #[test]
    fn bodies_survive_zlib(body in vec(any::<u8>(), 0..2000)) {
        let compressions = Compressions::default();
        let compressed = compressions.compress("gzip", &body).unwrap();
        prop_assert_eq!(compressions.decompress(&compressed.content_type, &compressed.body).unwrap(), body);
    }
}
