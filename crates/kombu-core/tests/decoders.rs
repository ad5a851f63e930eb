//! Properties of the decoders and decompressors: what was written is read again, and no bytes make
//! them panic. `PROPTEST_CASES=1000000 cargo test --release -p kombu-core --all-features --test
//! decoders` looks further.

use std::path::Path;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use kombu_core::{Codec, Codecs, Compressions, ErrorKind, Tag, Value};
use proptest::collection::{btree_map, vec};
use proptest::prelude::{
    Just, ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest,
};
use proptest::sample::{Index, select};
use proptest::string::string_regex;

/// Values that every codec has a form for, and those of `own`.
fn any_value(own: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<i8>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| Value::Float(if number.is_nan() { 0.5 } else { number })),
        any::<String>().prop_map(Value::Text),
        // What could be taken for something else.
        "[-+.0-9:eExob_ TZ~<=nNyYosftrue#'\"&*!|>%@`?,\\[\\]{}\n\t]{0,12}".prop_map(Value::Text),
        vec(any::<u8>(), 0..300).prop_map(|bytes| Value::Bytes(bytes.into())),
        own,
    ];
    leaf.prop_recursive(6, 60, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::List),
            btree_map("[-a-z0-9~:# '\"\n]{0,140}", inner, 0..6)
                .prop_map(|entries| Value::Table(entries.into_iter().collect())),
        ]
    })
}

fn dates() -> impl Strategy<Value = Value> {
    let date = "[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])";
    let time = "[01][0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{5}[1-9])?";
    let datetime = format!("{date}T{time}([-+](0[1-9]|1[0-9]):[0-5][0-9])?");
    prop_oneof![
        date.prop_map(|text| Value::Tagged(Tag::Date, text)),
        string_regex(&datetime)
            .expect("it is one")
            .prop_map(|text| Value::Tagged(Tag::Datetime, text)),
    ]
}

fn own_of_yaml() -> impl Strategy<Value = Value> {
    // An integer of more than 64 bits.
    prop_oneof!["-?[1-9][0-9]{20,40}".prop_map(Value::Decimal), dates()]
}

fn own_of_pickle() -> impl Strategy<Value = Value> {
    let time = "[01][0-9]:[0-5][0-9]:[0-5][0-9]([-+]0[1-9]:[0-5][0-9](:[0-5][1-9])?)?";
    prop_oneof![
        "-?[0-9]{1,25}(\\.[0-9]{1,9})?(E[+-][0-9]{1,3})?".prop_map(Value::Decimal),
        any::<u128>().prop_map(|id| Value::Tagged(Tag::Uuid, format!("{id:032x}"))),
        time.prop_map(|text| Value::Tagged(Tag::Time, text)),
        dates(),
    ]
}

fn survives(name: &str, value: &Value) {
    let codecs = Codecs::default();
    let codec = codecs.find(name).expect("it is compiled in");
    let encoded = codec.encode_value(value).expect("it has a form");
    let read = codec.decode_value(&encoded.body, &encoded.content_encoding);
    assert_eq!(&read.expect("it was written"), value, "{:?}", encoded.body);
}

/// Reads bytes with every codec; an error must be the right one.
fn read_with_all(body: &[u8]) {
    for codec in Codecs::default().iter() {
        read(codec, body);
    }
}

fn read(codec: &dyn Codec, body: &[u8]) {
    if let Err(error) = codec.decode_value(body, "utf-8") {
        assert_eq!(error.kind(), ErrorKind::Decode, "{error}");
    }
}

fn restore_with_all(body: &[u8]) {
    const LIMIT: usize = 10_000;
    let compressions = Compressions::default().limit_bytes(LIMIT);
    for method in compressions.iter() {
        match method.decompress(body, LIMIT) {
            Ok(restored) => assert!(restored.len() <= LIMIT),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Decode, "{error}"),
        }
    }
}

/// Real bodies: those that Python made.
static BODIES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| real("bodies"));

/// Real compressed bodies.
static COMPRESSED: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| real("compressed"));

fn real(table: &str) -> Vec<Vec<u8>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/codecs_python.json");
    let golden = std::fs::read(file).expect("it is checked in");
    let golden: serde_json::Value = serde_json::from_slice(&golden).expect("it is JSON");
    let rows = golden[table].as_array().expect("it is a list");
    let bodies = rows.iter().map(|row| {
        BASE64.decode(row["body"].as_str().expect("it is a text")).expect("it is base64")
    });
    bodies.filter(|body| body.len() < 5000).collect()
}

/// A small damage of a body.
#[derive(Clone, Debug)]
enum Damage {
    Cut(Index),
    Insert(Index, Vec<u8>),
    Remove(Index),
    Repeat(Index, Index),
    Set(Index, u8),
}

fn any_damage() -> impl Strategy<Value = Vec<Damage>> {
    let one = prop_oneof![
        any::<Index>().prop_map(Damage::Cut),
        (any::<Index>(), vec(any::<u8>(), 1..9)).prop_map(|(at, new)| Damage::Insert(at, new)),
        any::<Index>().prop_map(Damage::Remove),
        any::<(Index, Index)>().prop_map(|(from, to)| Damage::Repeat(from, to)),
        any::<(Index, u8)>().prop_map(|(at, byte)| Damage::Set(at, byte)),
    ];
    vec(one, 1..4)
}

fn damaged(body: &[u8], damages: &[Damage]) -> Vec<u8> {
    let mut body = body.to_vec();
    for damage in damages {
        if body.is_empty() {
            break;
        }
        match damage {
            Damage::Cut(at) => body.truncate(at.index(body.len())),
            Damage::Insert(at, new) => {
                let at = at.index(body.len());
                body.splice(at..at, new.iter().copied());
            }
            Damage::Remove(at) => drop(body.remove(at.index(body.len()))),
            Damage::Repeat(from, to) => {
                let (from, to) = (from.index(body.len()), to.index(body.len()));
                let part = body[from.min(to)..from.max(to)].to_vec();
                body.splice(to..to, part);
            }
            Damage::Set(at, byte) => {
                let at = at.index(body.len());
                body[at] = *byte;
            }
        }
    }
    body
}

/// Operations of pickles with small arguments, in any order.
fn any_pickle() -> impl Strategy<Value = Vec<u8>> {
    let operations: Vec<&'static [u8]> = vec![
        b"(",
        b"0",
        b"1",
        b"2",
        b"]",
        b"}",
        b")",
        b"\x8f",
        b"l",
        b"d",
        b"t",
        b"\x91",
        b"a",
        b"e",
        b"\x90",
        b"s",
        b"u",
        b"\x85",
        b"\x86",
        b"\x87",
        b"R",
        b"\x81",
        b"b",
        b"N",
        b"\x88",
        b"\x89",
        b"\x94",
        b"q\0",
        b"q\x01",
        b"h\0",
        b"h\x01",
        b"p2\n",
        b"g2\n",
        b"K\x05",
        b"M\x01\x02",
        b"J\xff\xff\xff\xff",
        b"\x8a\x01\x80",
        b"I7\n",
        b"I01\n",
        b"L8L\n",
        b"F1.5\n",
        b"G\0\0\0\0\0\0\0\0",
        b"\x8c\x03int",
        b"X\x01\0\0\0a",
        b"Va\\u0041\n",
        b"U\x01a",
        b"S'a'\n",
        b"C\x04\x07\xe4\x01\x02",
        b"C\x06\x01\x02\x03\0\0\x04",
        b"C\x0a\x07\xe4\x01\x02\x03\x04\x05\0\0\x06",
        b"cbuiltins\nset\n",
        b"cdatetime\ndatetime\n",
        b"cdatetime\ndate\n",
        b"cdatetime\ntime\n",
        b"cdatetime\ntimedelta\n",
        b"cdatetime\ntimezone\n",
        b"cdecimal\nDecimal\n",
        b"cuuid\nUUID\n",
        b"ccollections\ndeque\n",
        b"ccollections\nOrderedDict\n",
        b"ccollections\nCounter\n",
        b"c_codecs\nencode\n",
        b"cbuiltins\nbytearray\n",
        b"ccopyreg\n_reconstructor\n",
        b"cbuiltins\nobject\n",
        b"\x8c\x06latin1",
        b".",
    ];
    vec(select(operations), 1..30).prop_map(|operations| {
        let mut pickle = operations.concat();
        pickle.push(b'.');
        pickle
    })
}

/// The number of cases where nothing is asked for.
fn cases(cases: u32) -> ProptestConfig {
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => ProptestConfig::default(),
        None => ProptestConfig::with_cases(cases),
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn values_survive_msgpack(value in any_value(any::<i64>().prop_map(Value::Timestamp))) {
        survives("msgpack", &value);
    }

    #[test]
    fn values_survive_pickle(value in any_value(own_of_pickle())) {
        survives("pickle", &value);
    }

    #[test]
    fn values_survive_yaml(value in any_value(own_of_yaml())) {
        survives("yaml", &value);
    }

}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn bodies_survive_compression(body in vec(any::<u8>(), 0..2000), times in 1..10_usize) {
        let body = body.repeat(times);
        let compressions = Compressions::default();
        for method in compressions.iter() {
            let compressed = method.compress(&body).unwrap();
            let restored = method.decompress(&compressed, body.len()).unwrap();
            prop_assert_eq!(&restored, &body);
            if !body.is_empty() {
                prop_assert!(method.decompress(&compressed, body.len() - 1).is_err());
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn any_bytes_are_read_or_refused(body in vec(any::<u8>(), 0..80)) {
        read_with_all(&body);
        restore_with_all(&body);
    }

    #[test]
    fn damaged_bodies_are_read_or_refused(body in any::<Index>(), damage in any_damage()) {
        read_with_all(&damaged(&BODIES[body.index(BODIES.len())], &damage));
    }

    #[test]
    fn damaged_compressed_bodies_are_restored_or_refused(
        body in any::<Index>(),
        damage in any_damage(),
    ) {
        restore_with_all(&damaged(&COMPRESSED[body.index(COMPRESSED.len())], &damage));
    }

    #[test]
    fn any_operations_are_read_or_refused(pickle in any_pickle()) {
        read(&kombu_core::Pickle, &pickle);
    }

    #[test]
    fn near_yaml_is_read_or_refused(
        text in "([-?:,\\[\\]{}&*!|>'\"%@`#~<=. \n\tab0-9]|!!set|!!omap|!!binary|<<: |\\*a|&a |- |: |  ){0,30}",
    ) {
        read(&kombu_core::Yaml, text.as_bytes());
    }
}
