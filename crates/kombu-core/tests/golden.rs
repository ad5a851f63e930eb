//! Bodies of yaml, msgpack and pickle, and compressed bodies, against Python's Kombu: golden files
//! that `interop/golden_codecs.py` makes and checks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use kombu_core::{Accept, Codecs, Compressions, ErrorKind, Tag, Value};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

#[derive(Deserialize)]
struct FromPython {
    bodies: Vec<PythonBody>,
    yaml: Vec<Judged>,
    msgpack: Vec<Judged>,
    refused: Vec<Refused>,
    compressed: Vec<CompressedBody>,
}

#[derive(Deserialize)]
struct PythonBody {
    serializer: String,
    name: String,
    /// Rows of one name have one value; it stands in the first of them.
    #[serde(default, deserialize_with = "present")]
    value: Option<Json>,
    content_type: String,
    content_encoding: String,
    body: String,
}

/// A body of which is known what Python reads, or that it refuses it.
#[derive(Deserialize)]
struct Judged {
    #[serde(alias = "hex")]
    text: String,
    #[serde(default, deserialize_with = "present")]
    reads: Option<Json>,
}

#[derive(Deserialize)]
struct Refused {
    name: String,
    body: String,
}

#[derive(Deserialize, Serialize)]
struct FromRust {
    bodies: Vec<RustBody>,
    compressed: Vec<CompressedBody>,
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct RustBody {
    serializer: String,
    name: String,
    content_type: String,
    content_encoding: String,
    body: String,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct CompressedBody {
    method: String,
    name: String,
    content_type: String,
    #[serde(default, skip_serializing)]
    plain: String,
    body: String,
}

/// Null is a value as well.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

fn golden(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file)
}

fn from_python() -> FromPython {
    let text = std::fs::read(golden("codecs_python.json")).expect("it is checked in");
    serde_json::from_slice(&text).expect("the generator wrote it")
}

fn from_rust() -> FromRust {
    let text = std::fs::read(golden("codecs_rust.json")).expect("it is checked in");
    serde_json::from_slice(&text).expect("this test wrote it")
}

fn bytes(base64: &str) -> Vec<u8> {
    BASE64.decode(base64).expect("the golden files hold base64")
}

/// A value as `interop/values.py` writes it.
fn notation(value: &Value) -> Json {
    let tagged = |kind: &str, text: &str| json!({ "!": kind, "v": text });
    match value {
        Value::Null => Json::Null,
        Value::Bool(truth) => json!(truth),
        Value::Int(number) => json!(number),
        Value::UInt(number) => json!(number),
        Value::Float(number) if number.is_nan() => tagged("float", "nan"),
        Value::Float(number) if number.is_infinite() => tagged("float", &number.to_string()),
        Value::Float(number) => json!(number),
        Value::Decimal(text) => tagged("decimal", text),
        Value::Text(text) => json!(text),
        Value::Bytes(bytes) => tagged("bytes", &BASE64.encode(bytes)),
        Value::Timestamp(seconds) => json!({ "timestamp": seconds }),
        Value::Tagged(Tag::Uuid, hex) => {
            let id = uuid::Uuid::parse_str(hex).expect("it is 32 digits");
            tagged("uuid", &id.to_string())
        }
        Value::Tagged(tag, text) => tagged(tag.name(), text),
        Value::List(items) => items.iter().map(notation).collect(),
        Value::Table(table) => {
            let entries = table.iter().map(|(name, value)| (name.to_owned(), notation(value)));
            Json::Object(entries.collect())
        }
        other => panic!("a new kind of value: {other:?}"),
    }
}

/// Sets have no order.
fn sorted(value: Json) -> Json {
    match value {
        Json::Array(mut items) => {
            items.sort_by_key(Json::to_string);
            Json::Array(items)
        }
        other => other,
    }
}

/// Sets in a list have no order either.
fn sorted_within(value: Json) -> Json {
    match value {
        Json::Array(items) => sorted(items.into_iter().map(sorted_within).collect()),
        other => other,
    }
}

fn read(serializer: &str, body: &[u8]) -> kombu_core::Result<Value> {
    Codecs::default().find(serializer).expect("it is compiled in").decode_value(body, "utf-8")
}

#[test]
fn bodies_from_python_are_read() {
    let codecs = Codecs::default();
    let accept = Accept::from(["msgpack", "pickle", "yaml"]);
    let mut wrong = Vec::new();
    let mut value = Json::Null;
    for case in from_python().bodies {
        value = case.value.unwrap_or(value);
        let (kind, encoding) = (Some(&*case.content_type), Some(&*case.content_encoding));
        let body = bytes(&case.body);
        let sort = case.name.contains("set");
        let expected = if sort { sorted(value.clone()) } else { value.clone() };
        for read in [
            codecs.decode_value(kind, encoding, &body, &accept),
            codecs.decode::<Value>(kind, encoding, &body, &accept),
        ] {
            let read = match &read {
                Ok(value) if sort => sorted(notation(value)),
                Ok(value) => notation(value),
                Err(error) => json!(error.to_string()),
            };
            if read != expected {
                wrong.push(format!("{} {}: {read}, not {expected}", case.serializer, case.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `KOMBU_BLESS=1` writes the file; then `interop/golden_codecs.py check` has Python read it.
#[test]
fn bodies_for_python_are_those_that_python_was_seen_to_read() {
    let codecs = Codecs::default();
    let accept = Accept::any_enabled();
    let mut values = BTreeMap::new();
    for case in from_python().bodies {
        if case.name.ends_with(')') {
            continue;
        }
        let body = bytes(&case.body);
        let value = codecs.decode_value(Some(&case.content_type), None, &body, &accept).unwrap();
        values.insert((case.serializer, case.name), value);
    }
    for serializer in ["msgpack", "pickle", "yaml"] {
        let name = (serializer.to_owned(), "timestamp".to_owned());
        values.insert(name, Value::Timestamp(1_582_934_400));
    }
    let timestamps = [-1, 1 << 33, 1 << 40].map(Value::Timestamp).to_vec();
    values.insert(("msgpack".to_owned(), "timestamps".to_owned()), Value::List(timestamps));
    let bodies = values.into_iter().map(|((serializer, name), value)| {
        let codec = codecs.find(&serializer).unwrap();
        let encoded = codec.encode_value(&value).unwrap();
        if !name.starts_with("timestamp") {
            assert_eq!(codecs.encode(Some(&serializer), &value).unwrap(), encoded);
            let again = codec.decode_value(&encoded.body, "utf-8").unwrap();
            assert_eq!(notation(&again), notation(&value), "{serializer} {name}");
        }
        RustBody {
            serializer,
            name,
            content_type: encoded.content_type.into_owned(),
            content_encoding: encoded.content_encoding.into_owned(),
            body: BASE64.encode(encoded.body),
        }
    });
    let bodies = bodies.collect::<Vec<_>>();
    if std::env::var_os("KOMBU_BLESS").is_some() {
        bless(bodies);
    } else {
        assert_eq!(from_rust().bodies, bodies);
    }
}

fn bless(bodies: Vec<RustBody>) {
    let mut compressed = from_python().compressed;
    for case in &mut compressed {
        let made = Compressions::default()
            .compress(&case.method, &bytes(&case.plain))
            .expect("memory takes it");
        case.body = BASE64.encode(made.body);
    }
    let text = serde_json::to_string(&FromRust { bodies, compressed }).expect("plain data");
    // A body a line, so that changes can be seen.
    let text = text.replace("{\"", "\n{\"");
    std::fs::write(golden("codecs_rust.json"), text.trim_start().to_owned() + "\n")
        .expect("the directory is there");
}

#[test]
fn python_and_rust_read_and_refuse_the_same_messagepack() {
    for case in from_python().msgpack {
        let digits = case.text.as_bytes().chunks(2).map(|two| std::str::from_utf8(two).unwrap());
        let body = digits.map(|two| u8::from_str_radix(two, 16).unwrap()).collect::<Vec<_>>();
        let read = read("msgpack", &body);
        if let Err(error) = &read {
            assert_eq!(error.kind(), ErrorKind::Decode, "{}", case.text);
        }
        assert_eq!(read.as_ref().ok().map(notation), case.reads, "{}: {read:?}", case.text);
    }
}

#[test]
fn python_and_rust_read_and_refuse_the_same_yaml() {
    let mut wrong = Vec::new();
    for case in from_python().yaml {
        let read = read("yaml", case.text.as_bytes());
        if let Err(error) = &read {
            assert_eq!(error.kind(), ErrorKind::Decode, "{}", case.text);
        }
        let same = match (&read, case.reads.clone()) {
            (Ok(value), Some(reads)) if case.text.contains("!!set") => {
                Some(sorted_within(notation(value))) == Some(sorted_within(reads))
            }
            (read, reads) => read.as_ref().ok().map(notation) == reads,
        };
        if same == DIFFERENT_YAML.contains(&case.text.as_str()) {
            wrong.push(format!("{:?}: {read:?}, not {:?}", case.text, case.reads));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pickles_of_anything_but_plain_data_are_refused() {
    let cases = from_python().refused;
    assert!(cases.len() > 20);
    for case in cases {
        let error = read("pickle", &bytes(&case.body)).expect_err(&case.name);
        assert_eq!(error.kind(), ErrorKind::Decode, "{}: {error}", case.name);
    }
}

#[test]
fn bodies_that_python_compressed_are_restored() {
    let compressions = Compressions::default();
    let python = from_python().compressed;
    let rust = from_rust().compressed;
    assert_eq!((python.len(), rust.len()), (20, 20));
    for (ours, theirs) in rust.iter().zip(&python) {
        assert_eq!((&ours.method, &ours.name), (&theirs.method, &theirs.name));
        let method = compressions.find(&ours.method).expect("it is compiled in");
        assert_eq!(method.content_type(), theirs.content_type);
        for body in [&ours.body, &theirs.body] {
            let restored = compressions.decompress(&theirs.content_type, &bytes(body));
            assert_eq!(restored.unwrap(), bytes(&theirs.plain), "{} {}", ours.method, ours.name);
        }
    }
}

/// What Rust and PyYAML read differently.
const DIFFERENT_YAML: [&str; 14] = [
    // The versions of YAML differ in what a document, a line break or a simple key is.
    "%YAML 2.0\n---\nyes",
    "{: a}",
    "[&a 1, &a 2, *a]",
    "a\tb",
    "\ta",
    "a\u{85}b",
    "...\n",
    "?",
    ":",
    ": ",
    "x: [\n1,\n2\n]",
    // Halves of surrogate pairs are refused, and so are two that could be a pair.
    "\"\\ud83d\\ude00\"",
    "\"\\ud800\"",
    // The names of a table are texts; to Python, 1 and true are one key.
    "1: a\n2.5: b\nyes: c\n~: d\n2020-01-02: e\n",
];
