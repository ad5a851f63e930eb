//! Between [`Value`] and lapin's values.
//!
//! | [`Value`] | written as | read from |
//! |---|---|---|
//! | `Null` | `V` | `V` |
//! | `Bool` | `t` | `t` |
//! | `Int` | `I`, beyond 32 bits `l` | `b B s U u I i l L` |
//! | `Float` | `d` | `f d` |
//! | `Decimal` | `D` | `D` |
//! | `Text` | `S` | `S` of UTF-8 |
//! | `Bytes` | `x` | `x`, other `S` |
//! | `Timestamp` | `T` | `T` |
//! | `Tagged` | `S`, its text | |
//! | `List`, `Table` | `A`, `F` | `A`, `F` |

use bytes::Bytes;
use kombu_core::{DeliveryMode, Properties, Table, Value};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, DecimalValue, FieldTable, LongString, ShortString};

use crate::names;

/// The table in lapin's form. What AMQP cannot carry was refused before; it is left out here.
pub(crate) fn to_lapin(table: &Table) -> FieldTable {
    let mut fields = FieldTable::default();
    for (name, value) in table.iter() {
        if let (Ok(name), Some(value)) = (ShortString::try_new(name), value_to_lapin(value)) {
            fields.insert(name, value);
        }
    }
    fields
}

/// The table in Kombu's form.
pub(crate) fn from_lapin(fields: &FieldTable) -> Table {
    fields.into_iter().map(|(name, value)| (name.as_str(), value_from_lapin(value))).collect()
}

/// A name in lapin's form; the length was checked before.
pub(crate) fn short(text: &str) -> ShortString {
    ShortString::try_new(text).unwrap_or_default()
}

/// The properties in lapin's form.
pub(crate) fn properties_to_lapin(properties: &Properties) -> BasicProperties {
    let mut to = BasicProperties::default()
        .with_delivery_mode(properties.delivery_mode.number())
        .with_priority(properties.priority);
    macro_rules! texts {
        ($($field:ident => $setter:ident),+) => {$(
            if let Some(text) = &properties.$field {
                to = to.$setter(short(text));
            }
        )+};
    }
    texts!(
        content_type => with_content_type, content_encoding => with_content_encoding,
        correlation_id => with_correlation_id, reply_to => with_reply_to,
        expiration => with_expiration, message_id => with_message_id, kind => with_type,
        user_id => with_user_id, app_id => with_app_id, cluster_id => with_cluster_id
    );
    if !properties.headers.is_empty() {
        to = to.with_headers(to_lapin(&properties.headers));
    }
    if let Some(timestamp) = properties.timestamp {
        to = to.with_timestamp(timestamp);
    }
    to
}

/// The properties in Kombu's form.
pub(crate) fn properties_from_lapin(from: &BasicProperties) -> Properties {
    let text = |text: &Option<ShortString>| text.as_ref().map(|text| text.as_str().to_owned());
    let mut to = Properties::new();
    to.content_type = text(from.content_type()).map(Into::into);
    to.content_encoding = text(from.content_encoding()).map(Into::into);
    to.headers = from.headers().as_ref().map(from_lapin).unwrap_or_default();
    // Absent means transient (RabbitMQ: anything but 2).
    to.delivery_mode =
        from.delivery_mode().map_or(DeliveryMode::Transient, DeliveryMode::from_number);
    to.priority = from.priority().unwrap_or_default();
    to.correlation_id = text(from.correlation_id());
    to.reply_to = text(from.reply_to());
    to.expiration = text(from.expiration());
    to.message_id = text(from.message_id());
    to.timestamp = *from.timestamp();
    to.kind = text(from.kind());
    to.user_id = text(from.user_id());
    to.app_id = text(from.app_id());
    to.cluster_id = text(from.cluster_id());
    to
}

fn value_to_lapin(value: &Value) -> Option<AMQPValue> {
    Some(match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(truth) => AMQPValue::Boolean(*truth),
        Value::Int(number) => {
            i32::try_from(*number).map_or(AMQPValue::LongLongInt(*number), AMQPValue::LongInt)
        }
        Value::Float(number) => AMQPValue::Double(*number),
        Value::Decimal(text) => {
            let (scale, digits) = names::decimal(text)?;
            // lapin has the field without sign; on the wire it is the two's complement.
            AMQPValue::DecimalValue(DecimalValue { scale, value: digits.cast_unsigned() })
        }
        Value::Text(text) | Value::Tagged(_, text) => {
            AMQPValue::LongString(LongString::from(text.as_str()))
        }
        Value::Bytes(bytes) => AMQPValue::ByteArray(bytes.to_vec().into()),
        Value::Timestamp(seconds) => AMQPValue::Timestamp(u64::try_from(*seconds).ok()?),
        Value::List(items) => AMQPValue::FieldArray(
            items.iter().filter_map(value_to_lapin).collect::<Vec<_>>().into(),
        ),
        Value::Table(table) => AMQPValue::FieldTable(to_lapin(table)),
        _ => return None,
    })
}

fn value_from_lapin(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::Boolean(truth) => Value::Bool(*truth),
        AMQPValue::ShortShortInt(number) => Value::from(*number),
        AMQPValue::ShortShortUInt(number) => Value::from(*number),
        AMQPValue::ShortInt(number) => Value::from(*number),
        AMQPValue::ShortUInt(number) => Value::from(*number),
        AMQPValue::LongInt(number) => Value::from(*number),
        AMQPValue::LongUInt(number) => Value::from(*number),
        AMQPValue::LongLongInt(number) => Value::from(*number),
        AMQPValue::Float(number) => Value::from(*number),
        AMQPValue::Double(number) => Value::from(*number),
        AMQPValue::DecimalValue(decimal) => {
            Value::Decimal(names::decimal_text(decimal.scale, decimal.value.cast_signed()))
        }
        AMQPValue::ShortString(text) => Value::from(text.as_str()),
        AMQPValue::LongString(text) => text_or_bytes(text.as_bytes()),
        AMQPValue::FieldArray(items) => {
            Value::List(items.as_slice().iter().map(value_from_lapin).collect())
        }
        AMQPValue::Timestamp(seconds) => {
            i64::try_from(*seconds).map_or_else(|_| Value::UInt(*seconds), Value::Timestamp)
        }
        AMQPValue::FieldTable(fields) => Value::Table(from_lapin(fields)),
        AMQPValue::ByteArray(bytes) => Value::Bytes(Bytes::copy_from_slice(bytes.as_slice())),
        AMQPValue::Void => Value::Null,
    }
}

fn text_or_bytes(bytes: &[u8]) -> Value {
    std::str::from_utf8(bytes)
        .map_or_else(|_| Value::Bytes(Bytes::copy_from_slice(bytes)), Value::from)
}

#[cfg(test)]
mod tests {
    use kombu_core::Tag;

    use super::*;

    #[test]
    fn every_value_comes_back() {
        let table = Table::new()
            .with("null", Value::Null)
            .with("bool", true)
            .with("small", -5)
            .with("large", 5_000_000_000_i64)
            .with("float", 0.1)
            .with("decimal", Value::Decimal("-1.20".to_owned()))
            .with("text", "grüße")
            .with("bytes", Bytes::from_static(b"\xff\xfe"))
            .with("time", Value::Timestamp(1_700_000_000))
            .with("list", vec![Value::Int(1), Value::List(vec![Value::Null])])
            .with("table", Table::new().with("x", Table::new()));
        assert_eq!(from_lapin(&to_lapin(&table)), table);
    }

    #[test]
    fn tagged_values_become_their_text() {
        let table = Table::new().with("when", Value::Tagged(Tag::Date, "2020-01-02".to_owned()));
        let back = from_lapin(&to_lapin(&table));
        assert_eq!(back.get("when").and_then(Value::as_str), Some("2020-01-02"));
    }

    #[test]
    fn strings_that_are_not_utf8_are_bytes() {
        let mut fields = FieldTable::default();
        fields.insert("b".into(), AMQPValue::LongString(LongString::from(b"\xff\xfe".to_vec())));
        let bytes = Value::Bytes(Bytes::from_static(b"\xff\xfe"));
        assert_eq!(from_lapin(&fields).get("b"), Some(&bytes));
    }

    #[test]
    fn properties_come_back() {
        let mut properties = Properties::new();
        properties.content_type = Some("application/json".into());
        properties.content_encoding = Some("utf-8".into());
        properties.headers = Table::new().with("n", 1);
        properties.priority = 9;
        properties.correlation_id = Some("c".to_owned());
        properties.reply_to = Some("r".to_owned());
        properties.expiration = Some("1500".to_owned());
        properties.message_id = Some("m".to_owned());
        properties.timestamp = Some(1_700_000_000);
        properties.kind = Some("t".to_owned());
        properties.user_id = Some("guest".to_owned());
        properties.app_id = Some("a".to_owned());
        properties.cluster_id = Some("x".to_owned());
        assert_eq!(properties_from_lapin(&properties_to_lapin(&properties)), properties);
    }
}
