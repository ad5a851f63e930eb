//! Bodies that are made to exhaust the reader: each is read or refused in little time and memory.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use kombu_core::{Codecs, Compressions, ErrorKind, Value};

/// What each body may take of a processor at most, in a build without optimisation.
const TIME: Duration = Duration::from_secs(15);

/// How much memory the whole test may have taken at its peak.
const MEMORY_KIB: u64 = 600_000;

/// How large the bodies are, about.
const SIZE: usize = 300_000;

/// Whether a body must be refused, or may be read.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Fate {
    Any,
    Refused,
}
use Fate::{Any, Refused};

struct Hostile {
    codec: &'static str,
    name: &'static str,
    fate: Fate,
    body: Vec<u8>,
}

fn hostile(codec: &'static str) -> impl Fn(&'static str, Fate, Vec<u8>) -> Hostile {
    move |name, fate, body| Hostile { codec, name, fate, body }
}

fn json() -> Vec<Hostile> {
    let body = hostile("json");
    vec![
        body("deep lists", Refused, b"[".repeat(SIZE)),
        body("deep objects", Refused, br#"{"":"#.repeat(SIZE / 4)),
        body("a long number", Any, b"9".repeat(SIZE)),
        body("a long fraction", Any, [&b"0."[..], &b"1".repeat(SIZE)].concat()),
        body("escapes", Refused, [&b"\""[..], &br"\u0041".repeat(SIZE / 6)].concat()),
        body("deep tags", Refused, br#"{"__type__":"bytes","__value__":"#.repeat(SIZE / 32)),
        body("many lists", Any, [&b"["[..], &b"[],".repeat(SIZE / 3), b"0]"].concat()),
    ]
}

fn msgpack() -> Vec<Hostile> {
    let body = hostile("msgpack");
    vec![
        body("a long list", Refused, b"\xdd\xff\xff\xff\xff".to_vec()),
        body("a long map", Refused, b"\xdf\xff\xff\xff\xff".to_vec()),
        body("a long text", Refused, b"\xdb\xff\xff\xff\xff".to_vec()),
        body("long bytes", Refused, b"\xc6\xff\xff\xff\xff".to_vec()),
        body("a long extension", Refused, b"\xc9\xff\xff\xff\xff\xff".to_vec()),
        body("long lists in each other", Refused, b"\xdd\x00\x0f\x00\x00".repeat(SIZE / 5)),
        body("deep lists", Refused, b"\x91".repeat(SIZE)),
        body("deep maps", Refused, b"\x81\x00".repeat(SIZE / 2)),
        body("deep keys", Refused, b"\x81".repeat(SIZE)),
        body("many lists", Any, [&b"\xdd\x00\x0f\x00\x00"[..], &[0x90; 0xf_0000]].concat()),
    ]
}

fn pickle() -> Vec<Hostile> {
    let body = hostile("pickle");
    let text = |length: usize| {
        let mut text = b"X".to_vec();
        text.extend(u32::try_from(length).expect("it is short").to_le_bytes());
        text.extend(b"x".repeat(length));
        text
    };
    let doubled = [&b"]q\0"[..], &b"(h\0h\0lq\0".repeat(60), b"."].concat();
    let copied = |call: &[u8], mut start: Vec<u8>| {
        start.extend(b"q\0");
        for _ in 0..50_000 {
            start.extend(call);
        }
        start.push(b'.');
        start
    };
    let list = [&b"("[..], &b"N".repeat(300_000), b"l"].concat();
    vec![
        body(
            "deep lists",
            Refused,
            [b"]".repeat(SIZE), b"a".repeat(SIZE - 1), b".".to_vec()].concat(),
        ),
        body("deep tuples", Refused, [b")".to_vec(), b"\x85".repeat(SIZE), b".".to_vec()].concat()),
        body("a list in itself", Refused, b"]q\0h\0a.".to_vec()),
        body(
            "a list in itself, many times",
            Refused,
            [&b"]q\0("[..], &b"h\0".repeat(1000), b"e."].concat(),
        ),
        body("a dict in itself", Refused, b"}q\0X\x01\0\0\0ah\0s.".to_vec()),
        body("doubled lists", Refused, doubled),
        body(
            "a text, many times",
            Refused,
            [text(SIZE / 2), b"q\0(".to_vec(), b"h\0".repeat(SIZE / 4), b"t.".to_vec()].concat(),
        ),
        body("sets of a list", Refused, copied(b"cbuiltins\nset\nh\0\x85R0", list)),
        body(
            "bytes of a text",
            Refused,
            copied(b"c_codecs\nencode\nh\0\x8c\x06latin1\x86R0", text(300_000)),
        ),
        body(
            "decimals of a text",
            Refused,
            copied(
                b"cdecimal\nDecimal\nh\0\x85R0",
                [&b"X\xe0\x93\x04\0"[..], &b"1".repeat(300_000)].concat(),
            ),
        ),
        body("marks", Refused, b"(".repeat(SIZE)),
        body("copies of the top", Any, [b"N".to_vec(), b"2".repeat(SIZE), b".".to_vec()].concat()),
        body(
            "references",
            Any,
            [b"Nq\0".to_vec(), b"h\0".repeat(SIZE / 2), b".".to_vec()].concat(),
        ),
        body("a far reference", Any, b"Np18446744073709551615\n.".to_vec()),
        body("a farther reference", Refused, b"Np99999999999999999999999\n.".to_vec()),
        body("a long text", Refused, b"X\xff\xff\xff\xff".to_vec()),
        body("a very long text", Refused, b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f".to_vec()),
        body("very long bytes", Refused, b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff".to_vec()),
        body("a very long frame", Any, b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xffN.".to_vec()),
        body("a negative integer length", Refused, b"\x8b\xff\xff\xff\xff".to_vec()),
        body(
            "a large integer",
            Refused,
            [&b"\x8b\xe0\x93\x04\0"[..], &[0xff; 300_000], b"."].concat(),
        ),
        body(
            "large integers",
            Any,
            [b"\x8b\0\x02\0\0".to_vec(), vec![0x7f; 512]]
                .concat()
                .repeat(500)
                .into_iter()
                .chain(*b".")
                .collect(),
        ),
        body("many digits", Any, [&b"L"[..], &b"9".repeat(SIZE), b"L\n."].concat()),
        body("many empty lists", Any, [b"]".repeat(SIZE), b".".to_vec()].concat()),
        body("nothing", Refused, b".".to_vec()),
    ]
}

fn yaml() -> Vec<Hostile> {
    let body = hostile("yaml");
    let mut laughs = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for level in 1..40 {
        let alias = format!("*a{}", level - 1);
        let aliases = [alias.as_str(); 9].join(", ");
        laughs.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    let mut merges = "a0: &a0 {k0: 0}\n".to_owned();
    for level in 1..200 {
        merges.push_str(&format!(
            "a{level}: &a{level} {{<<: [*a{0}, *a{0}], k{level}: 0}}\n",
            level - 1
        ));
    }
    let text = |part: &str| part.repeat(SIZE / part.len()).into_bytes();
    let around = |start: &str, part: &str, end: &str| {
        [start.as_bytes(), &text(part), end.as_bytes()].concat()
    };
    let big = "x".repeat(SIZE / 2);
    vec![
        body("a billion laughs", Refused, laughs.into_bytes()),
        body("merges of merges", Any, merges.into_bytes()),
        body("aliases of a text", Refused, around(&format!("[&a {big}, "), "*a, ", "1]")),
        body("merges of a map", Any, around("a: &a {b: 1}\nc:\n  <<: [", "*a, ", "*a]\n")),
        body("an alias in itself", Refused, b"&a [*a]".to_vec()),
        body("deep flow lists", Refused, text("[")),
        body("deep flow maps", Refused, text("{a: ")),
        body("deep flow keys", Refused, text("{? ")),
        body("deep block lists", Refused, text("- ")),
        body("deep block keys", Refused, text("? ")),
        body("nested anchors", Refused, text("&a [")),
        body("many anchors", Any, around("[", "&a b, ", "c]")),
        body("many tags", Any, around("[", "!!str b, ", "c]")),
        body("many directives", Refused, text("%TAG !a! tag:a\n")),
        body("many documents", Refused, text("--- a\n")),
        body(
            "many keys",
            Any,
            (0..SIZE / 10).map(|key| format!("k{key}: 1\n")).collect::<String>().into_bytes(),
        ),
        body("keys in a line", Refused, text("a: ")),
        body("values in a line", Refused, text(": ")),
        body("colons", Any, text(":")),
        body("a long line", Any, text("x")),
        body("a long key", Any, [text("x"), b": 1".to_vec()].concat()),
        body("long quoted keys", Any, [b"{".to_vec(), text("\"x\","), b"}".to_vec()].concat()),
        body("a long quote", Refused, around("\"", "x", "")),
        body("a long single quote", Refused, around("'", "x", "")),
        body("escapes", Any, around("\"", "\\u0041", "\"")),
        body("spaces", Any, text(" ")),
        body("tabs", Any, text("\t")),
        body("empty lines", Any, text("\n")),
        body("comments", Any, text("#\n")),
        body("a long comment", Any, text("#")),
        body("lines of text", Any, text("x\n")),
        body("lines of a block", Any, around("|\n", " x\n", "")),
        body("empty lines of a block", Any, around(">\n", " \n", "x")),
        body("commas", Refused, around("[", ",", "]")),
        body("brackets", Refused, text("[]")),
        body("many lists", Any, around("[", "[],", "1]")),
        body("a set", Any, around("!!set {", "a,", "b}")),
        body("a long number", Any, text("9")),
        body("a long hexadecimal number", Refused, around("0x", "f", "")),
        body("a long sexagesimal number", Refused, around("1", ":00", "")),
        body("a long float", Any, around("1", "0", ".0")),
        body("bytes", Any, around("!!binary ", "A", "")),
        body("dashes", Any, text("-")),
        body("stars", Refused, text("*")),
        body("ampersands", Any, text("&")),
        body("exclamation marks", Refused, text("!")),
        body("quotes", Any, text("''")),
        body("question marks", Any, text("?")),
        body("percent signs", Refused, text("%")),
    ]
}

/// A frame of zstd whose window is 2 GiB, and a block of xz whose window is 4 GiB.
fn windows() -> [(&'static str, Vec<u8>); 2] {
    let zstd = b"\x28\xb5\x2f\xfd\x00\xa8\x09\x00\x00\x61".to_vec();
    let mut xz =
        Compressions::default().compress("xz", b"hello").expect("it is small").body.to_vec();
    // Behind the stream's header: size, flags, filter, its one property, which is the window, and
    // padding; then the check sum of all that.
    let (header, check) = (12..20, 20..24);
    assert_eq!(xz[12..16], [2, 0, 0x21, 1]);
    xz[16] = 40;
    let sum = crc32(&xz[header]);
    xz[check].copy_from_slice(&sum.to_le_bytes());
    [("zstd", zstd), ("xz", xz)]
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |sum: u32, _| if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 };
    !bytes.iter().fold(!0, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), step))
}

/// How long this thread was on a processor; where the system does not say, how long it is since
/// the first call.
fn busy() -> Duration {
    static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
    let status = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = status.and_then(|status| status.split(' ').next()?.parse().ok());
    nanos.map_or_else(|| FIRST.elapsed(), Duration::from_nanos)
}

/// The most memory that this process had so far.
fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[test]
fn hostile_bodies_are_read_or_refused_in_bounded_time_and_memory() {
    let codecs = Codecs::default();
    let mut wrong = Vec::new();
    for hostile in json().into_iter().chain(msgpack()).chain(pickle()).chain(yaml()) {
        let codec = codecs.find(hostile.codec).expect("it is compiled in");
        let what = format!("{}, {}", hostile.codec, hostile.name);
        let start = busy();
        let read = codec.decode_value(&hostile.body, "utf-8");
        let took = busy().saturating_sub(start);
        if took > TIME {
            wrong.push(format!("{what}: took {took:?}"));
        }
        match read {
            Ok(value) if hostile.fate == Refused => {
                let kind = if value == Value::Null { "null" } else { "something" };
                wrong.push(format!("{what}: read as {kind}"));
            }
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Decode, "{what}: {error}");
                let text = error.to_string();
                if text.len() > 500 {
                    wrong.push(format!("{what}: an error of {} bytes", text.len()));
                }
            }
        }
    }
    let compressions = Compressions::default().limit_bytes(1000);
    for method in compressions.iter() {
        let bomb = method.compress(&vec![0; 10_000_000]).unwrap();
        let error = compressions.decompress(method.content_type(), &bomb).unwrap_err();
        assert!(error.to_string().contains("1000 bytes"), "{error}");
    }
    for (method, body) in windows() {
        let error = Compressions::default().decompress(method, &body).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode, "{method}: {error}");
    }
    if let Some(peak) = peak_kib().filter(|peak| *peak > MEMORY_KIB) {
        wrong.push(format!("the peak was {peak} KiB"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
