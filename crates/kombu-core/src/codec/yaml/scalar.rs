//! What scalars mean in YAML 1.1 (`yaml/resolver.py` and `yaml/constructor.py` of PyYAML).

use base64::Engine as _;
use bytes::Bytes;

use crate::codec::number;
use crate::codec::yaml::timestamp::Timestamp;
use crate::value::Value;
use crate::value::tagged::BASE64;

/// The kinds of scalars.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Binary,
    Bool,
    /// A plain `=`.
    Default,
    Float,
    Int,
    /// A plain `<<`.
    Merge,
    Null,
    Str,
    Timestamp,
}

impl Kind {
    /// The kind of a plain scalar without a tag.
    pub(super) fn of_plain(text: &str) -> Self {
        let Some(first) = text.bytes().next() else {
            return Self::Null;
        };
        // Most texts start with a letter that starts nothing else.
        match first {
            b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' => match text {
                "null" | "Null" | "NULL" => Self::Null,
                _ if is_bool(text) => Self::Bool,
                _ => Self::Str,
            },
            b'~' if text == "~" => Self::Null,
            b'<' if text == "<<" => Self::Merge,
            b'=' if text == "=" => Self::Default,
            b'+' | b'-' | b'.' | b'0'..=b'9' => {
                if is_int(text) {
                    Self::Int
                } else if is_float(text) {
                    Self::Float
                } else if Timestamp::parse(text).is_some_and(|parts| parts.is_implicit()) {
                    Self::Timestamp
                } else {
                    Self::Str
                }
            }
            _ => Self::Str,
        }
    }

    /// The kind that a tag names, if it is one of scalars.
    pub(super) fn of_tag(tag: &str) -> Option<Self> {
        Some(match tag {
            "tag:yaml.org,2002:binary" => Self::Binary,
            "tag:yaml.org,2002:bool" => Self::Bool,
            "tag:yaml.org,2002:float" => Self::Float,
            "tag:yaml.org,2002:int" => Self::Int,
            "tag:yaml.org,2002:null" => Self::Null,
            "tag:yaml.org,2002:str" => Self::Str,
            "tag:yaml.org,2002:timestamp" => Self::Timestamp,
            _ => return None,
        })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Binary => "base64",
            Self::Bool => "a truth value",
            Self::Default | Self::Merge => "a key of a map",
            Self::Float => "a number",
            Self::Int => "an integer",
            Self::Null => "null",
            Self::Str => "a text",
            Self::Timestamp => "a date or time that exists",
        }
    }

    /// The value of a scalar of this kind, if it has one.
    pub(super) fn value(self, text: &str) -> Option<Value> {
        match self {
            Self::Binary => binary(text),
            Self::Bool => bool(text),
            Self::Default | Self::Merge => None,
            Self::Float => float(text).map(Value::Float),
            Self::Int => int(text),
            Self::Null => Some(Value::Null),
            Self::Str => Some(Value::from(text)),
            Self::Timestamp => Timestamp::parse(text)?.value(),
        }
    }
}

fn is_bool(text: &str) -> bool {
    let (first, rest) = text.split_at(1);
    let same_case = rest.bytes().all(|byte| byte.is_ascii_lowercase())
        || (rest.bytes().all(|byte| byte.is_ascii_uppercase())
            && first.bytes().all(|byte| byte.is_ascii_uppercase()));
    same_case && bool(text).is_some()
}

fn bool(text: &str) -> Option<Value> {
    Some(Value::Bool(match text.to_ascii_lowercase().as_str() {
        "yes" | "true" | "on" => true,
        "no" | "false" | "off" => false,
        _ => return None,
    }))
}

fn is_int(text: &str) -> bool {
    let (_, digits) = sign(text);
    let all = |digits: &str, fits: fn(&u8) -> bool| {
        !digits.is_empty() && digits.bytes().all(|byte| byte == b'_' || fits(&byte))
    };
    if let Some(digits) = digits.strip_prefix("0b") {
        return all(digits, |byte| matches!(byte, b'0' | b'1'));
    }
    if let Some(digits) = digits.strip_prefix("0x") {
        return all(digits, u8::is_ascii_hexdigit);
    }
    if let Some(digits) = digits.strip_prefix('0') {
        return digits.is_empty() || all(digits, |byte| matches!(byte, b'0'..=b'7'));
    }
    let (first, sixties) = digits.split_once(':').unwrap_or((digits, "0"));
    digits.starts_with(|letter: char| letter.is_ascii_digit())
        && all(first, u8::is_ascii_digit)
        && sixties.split(':').all(is_sixtieth)
}

fn int(text: &str) -> Option<Value> {
    let text = text.replace('_', "");
    let (minus, digits) = sign(&text);
    let radix = |digits: &str, radix| {
        let number = i128::from_str_radix(digits, radix).ok()?;
        Some(Value::from_i128(if minus { number.checked_neg()? } else { number }))
    };
    if let Some(digits) = digits.strip_prefix("0b") {
        radix(digits, 2)
    } else if let Some(digits) = digits.strip_prefix("0x") {
        radix(digits, 16)
    } else if digits.len() > 1 && digits.starts_with('0') {
        radix(digits, 8)
    } else if digits.contains(':') {
        let mut sum = 0_i128;
        for part in digits.split(':') {
            sum = sum.checked_mul(60)?.checked_add(part.parse::<u64>().ok()?.into())?;
        }
        Some(Value::from_i128(if minus { -sum } else { sum }))
    } else {
        number::from_text(&text)
    }
}

fn is_float(text: &str) -> bool {
    let (_, number) = sign(text);
    if matches!(number, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let (mantissa, exponent) = match number.find(['e', 'E']) {
        Some(at) => (&number[..at], Some(&number[at + 1..])),
        None => (number, None),
    };
    let Some((whole, fraction)) = mantissa.split_once('.') else {
        return false;
    };
    let digits = |text: &str| text.bytes().all(|byte| byte == b'_' || byte.is_ascii_digit());
    let starts = |text: &str| text.starts_with(|letter: char| letter.is_ascii_digit());
    let exponent_fits = exponent.is_none_or(|exponent| {
        exponent.strip_prefix(['+', '-']).is_some_and(|digits| {
            !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
        })
    });
    if !exponent_fits || !digits(fraction) {
        return false;
    }
    match whole.split_once(':') {
        // Without digits before the point it has one behind it, and no sign.
        None if whole.is_empty() => starts(fraction) && number.len() == text.len(),
        None => starts(whole) && digits(whole),
        Some((first, sixties)) => {
            exponent.is_none()
                && starts(first)
                && digits(first)
                && sixties.split(':').all(is_sixtieth)
        }
    }
}

fn float(text: &str) -> Option<f64> {
    let text = text.replace('_', "").to_ascii_lowercase();
    let (minus, number) = sign(&text);
    let number = match number {
        ".inf" => f64::INFINITY,
        ".nan" => return Some(f64::NAN),
        number => {
            let mut sum = 0.0;
            for part in number.split(':') {
                sum = sum * 60.0 + part.parse::<f64>().ok()?;
            }
            sum
        }
    };
    Some(if minus { -number } else { number })
}

/// Letters that are not of base64 do not count, as in Python.
fn binary(text: &str) -> Option<Value> {
    let digits = text.is_ascii().then(|| {
        let digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
        text.bytes().filter(digit).collect::<Vec<_>>()
    })?;
    BASE64.decode(digits).ok().map(|data| Value::Bytes(Bytes::from(data)))
}

/// Whether it is a number below 60.
fn is_sixtieth(text: &str) -> bool {
    matches!(text.as_bytes(), [b'0'..=b'9'] | [b'0'..=b'5', b'0'..=b'9'])
}

/// Whether a number is negative, and what follows its sign.
fn sign(text: &str) -> (bool, &str) {
    (text.starts_with('-'), text.strip_prefix(['+', '-']).unwrap_or(text))
}
