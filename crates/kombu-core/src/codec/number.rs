//! Python's integers, which have any size.

use crate::value::Value;

/// The integer of its bytes in two's complement, the lowest first. `None` if it has more than
/// 4096 bits: making decimal digits of it takes time that grows with the square of its size.
pub(super) fn from_bytes(bytes: &[u8]) -> Option<Value> {
    let negative = bytes.last().is_some_and(|last| *last >= 0x80);
    let fill = if negative { 0xff } else { 0 };
    if bytes.len() <= 16 {
        let mut all = [fill; 16];
        all[..bytes.len()].copy_from_slice(bytes);
        return Some(Value::from_i128(i128::from_le_bytes(all)));
    }
    let sign = if negative { "-" } else { "" };
    (bytes.len() <= 512).then(|| from_text(&format!("{sign}{}", digits(bytes, negative)))).flatten()
}

/// The integer of its decimal digits, perhaps with a sign.
pub(super) fn from_text(text: &str) -> Option<Value> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(match format!("{sign}{digits}").parse() {
        Ok(number) => Value::from_i128(number),
        Err(_) => match digits.trim_start_matches('0') {
            "" => Value::Int(0),
            digits => Value::Decimal(format!("{sign}{digits}")),
        },
    })
}

/// The decimal digits of the magnitude, by division by a thousand million.
fn digits(bytes: &[u8], negative: bool) -> String {
    const GROUP: u64 = 1_000_000_000;
    let mut words = Vec::with_capacity(bytes.len() / 4 + 2);
    for chunk in bytes.chunks(4) {
        let mut word = [if negative { 0xff } else { 0 }; 4];
        word[..chunk.len()].copy_from_slice(chunk);
        words.push(u32::from_le_bytes(word));
    }
    if negative {
        let mut carry = true;
        for word in &mut words {
            (*word, carry) = (!*word).overflowing_add(carry.into());
        }
        words.push(carry.into());
    }
    let mut groups = Vec::new();
    while words.iter().any(|word| *word != 0) {
        let mut rest = 0;
        for word in words.iter_mut().rev() {
            let part = (rest << 32) | u64::from(*word);
            *word = u32::try_from(part / GROUP).unwrap_or(u32::MAX);
            rest = part % GROUP;
        }
        while words.last() == Some(&0) {
            words.pop();
        }
        groups.push(rest);
    }
    let mut groups = groups.into_iter().rev();
    let first = groups.next().unwrap_or(0).to_string();
    groups.fold(first, |text, group| format!("{text}{group:09}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_any_size_keep_their_digits() {
        for (bytes, expected) in [
            (&b""[..], Value::Int(0)),
            (b"\xff", Value::Int(-1)),
            (b"\xff\x00", Value::Int(255)),
            (&[0, 0, 0, 0, 0, 0, 0, 0x80], Value::Int(i64::MIN)),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0], Value::UInt(u64::MAX)),
            (&[0; 40], Value::Int(0)),
        ] {
            assert_eq!(from_bytes(bytes).unwrap(), expected, "{bytes:?}");
        }
        let mut two_to_the_200 = [0; 26];
        two_to_the_200[25] = 1;
        let text = "1606938044258990275541962092341162602522202993782792835301376";
        assert_eq!(from_bytes(&two_to_the_200).unwrap(), Value::Decimal(text.to_owned()));
        let mut minus = [0; 26];
        minus[25] = 0xff;
        assert_eq!(from_bytes(&minus).unwrap(), Value::Decimal(format!("-{text}")));
        assert_eq!(from_bytes(&[0; 513]), None);
    }

    #[test]
    fn texts_become_the_smallest_kind() {
        assert_eq!(from_text("-007"), Some(Value::Int(-7)));
        assert_eq!(from_text("18446744073709551615"), Some(Value::UInt(u64::MAX)));
        let huge = "1".repeat(50);
        assert_eq!(from_text(&huge), Some(Value::Decimal(huge.clone())));
        assert_eq!(from_text(&"0".repeat(50)), Some(Value::Int(0)));
        for bad in ["", "-", "1_000", "0x10", " 1", "1.0"] {
            assert_eq!(from_text(bad), None, "{bad}");
        }
    }
}
