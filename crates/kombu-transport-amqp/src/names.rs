//! What AMQP calls short strings: at most 255 bytes. Drivers panic on longer ones.

use kombu_core::transport::Publish;
use kombu_core::{Error, ErrorKind, Properties, Result, Table, Value};

/// Refuses a name that is too long; `what` says which.
pub(crate) fn check(what: &'static str, name: &str) -> Result<()> {
    if name.len() <= LONGEST {
        return Ok(());
    }
    let mut end = 20;
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    Err(Error::new(
        ErrorKind::InvalidArgument,
        format!("the {what} has {} bytes; AMQP allows {LONGEST}", name.len()),
    )
    .with(what, format_args!("{}…", &name[..end])))
}

/// Refuses the name of an exchange or queue that is too long, or that brokers would silently
/// change: RabbitMQ takes line breaks out.
pub(crate) fn check_entity(what: &'static str, name: &str) -> Result<()> {
    check(what, name)?;
    if name.contains(['\n', '\r']) {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("the {what} {name:?} has a line break, which brokers take out of names"),
        ));
    }
    Ok(())
}

/// Refuses a table with a name that is too long, at any depth, or a value that AMQP cannot carry.
pub(crate) fn check_table(what: &'static str, table: &Table) -> Result<()> {
    table.iter().try_for_each(|(name, value)| {
        check(what, name)?;
        check_value(what, value).map_err(|error| error.with("name", name))
    })
}

/// Refuses a message that AMQP cannot carry.
pub(crate) fn check_publish(publish: &Publish) -> Result<()> {
    let Publish { exchange, routing_key, message, .. } = publish;
    check_entity("exchange", exchange)?;
    check("routing key", routing_key)?;
    let Properties {
        content_type,
        content_encoding,
        headers,
        correlation_id,
        reply_to,
        expiration,
        message_id,
        kind,
        user_id,
        app_id,
        cluster_id,
        ..
    } = &*message.properties;
    for (what, text) in [
        ("content type", content_type.as_deref()),
        ("content encoding", content_encoding.as_deref()),
        ("correlation id", correlation_id.as_deref()),
        ("reply-to", reply_to.as_deref()),
        ("expiration", expiration.as_deref()),
        ("message id", message_id.as_deref()),
        ("type", kind.as_deref()),
        ("user id", user_id.as_deref()),
        ("app id", app_id.as_deref()),
        ("cluster id", cluster_id.as_deref()),
    ] {
        if let Some(text) = text {
            check(what, text)?;
        }
    }
    check_table("header", headers)
}

fn check_value(what: &'static str, value: &Value) -> Result<()> {
    let refused = |message: String| Err(Error::new(ErrorKind::Encode, message));
    match value {
        Value::UInt(number) => {
            refused(format!("the {what} value {number} is above 2^63-1, AMQP's largest integer"))
        }
        Value::Timestamp(seconds) if *seconds < 0 => {
            refused(format!("the {what} value is a time before 1970, which AMQP cannot carry"))
        }
        Value::Decimal(text) if decimal(text).is_none() => refused(format!(
            "the {what} value {text:?} is no decimal of 32 bits and at most 255 places, all that \
             AMQP can carry"
        )),
        Value::List(items) => items.iter().try_for_each(|item| check_value(what, item)),
        Value::Table(table) => check_table(what, table),
        _ => Ok(()),
    }
}

/// The places and digits of a decimal in text form.
pub(crate) fn decimal(text: &str) -> Option<(u8, i32)> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut places = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
    let mut digits: i64 = format!("{whole}{fraction}").parse().ok()?;
    while places < 0 {
        digits = digits.checked_mul(10)?;
        places += 1;
    }
    Some((u8::try_from(places).ok()?, i32::try_from(digits).ok()?))
}

/// The text form of a decimal.
pub(crate) fn decimal_text(places: u8, digits: i32) -> String {
    let places = usize::from(places);
    let sign = if digits < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", digits.unsigned_abs(), width = places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    if places == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

const LONGEST: usize = 255;

#[cfg(test)]
mod tests {
    use kombu_core::Message;

    use super::*;

    #[test]
    fn decimals_keep_their_places() {
        for text in ["1.20", "-0.05", "0", "2147483647", "-2147483648", "0.000001"] {
            let (places, digits) = decimal(text).unwrap();
            assert_eq!(decimal_text(places, digits), text);
        }
        assert_eq!(decimal("1E+2"), Some((0, 100)));
        assert_eq!(decimal("1.5e-3"), Some((4, 15)));
        for text in ["", "x", "1.2.3", "1.-2", "2147483648", "NaN", "1e9999999999", "1e-300"] {
            assert_eq!(decimal(text), None, "{text}");
        }
    }

    #[test]
    fn long_names_are_refused_by_name() {
        let long = "é".repeat(128);
        assert!(check("queue", &"x".repeat(255)).is_ok());
        let error = check("queue", &long).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains("the queue has 256 bytes; AMQP allows 255"), "{error}");

        let headers = Table::new().with("a", Table::new().with(long.clone(), 1));
        let mut properties = Properties::new();
        properties.headers = headers;
        let publish = Publish::new("", "q", Message::new("", properties));
        assert!(check_publish(&publish).unwrap_err().to_string().contains("header"));
        let mut properties = Properties::new();
        properties.correlation_id = Some(long);
        let publish = Publish::new("", "q", Message::new("", properties));
        assert!(check_publish(&publish).unwrap_err().to_string().contains("correlation id"));
    }

    #[test]
    fn values_that_amqp_cannot_carry_are_refused() {
        for value in [
            Value::UInt(u64::MAX),
            Value::Timestamp(-1),
            Value::Decimal("99999999999".to_owned()),
            Value::List(vec![Value::UInt(u64::MAX)]),
        ] {
            let table = Table::new().with("x", value);
            assert_eq!(check_table("header", &table).unwrap_err().kind(), ErrorKind::Encode);
        }
    }
}
