//! Exchanges and queues as arguments of Python's `Exchange` and `Queue`.

use kombu::{Binding, Exchange, Queue, Table, Value};
use serde_json::{Map, Value as Json, json};

use crate::notation;

/// The arguments of `Exchange`.
pub(crate) fn exchange(exchange: &Exchange) -> Json {
    json!({
        "name": exchange.name(),
        "type": exchange.kind().as_str(),
        "durable": exchange.is_durable(),
        "auto_delete": exchange.is_auto_delete(),
        "arguments": table(exchange.arguments()),
    })
}

/// The arguments of `Queue`. What Kombu has an option for is given by that option, so that its
/// translation and ours are compared.
pub(crate) fn queue(queue: &Queue) -> Json {
    let mut arguments = queue.arguments().clone();
    let mut given = json!({
        "name": queue.name(),
        "durable": queue.is_durable(),
        "exclusive": queue.is_exclusive(),
        "auto_delete": queue.is_auto_delete(),
        "bindings": queue.bindings().iter().map(binding).collect::<Vec<_>>(),
    });
    for (argument, option, unit) in [
        ("x-expires", "expires", 1000.0),
        ("x-message-ttl", "message_ttl", 1000.0),
        ("x-max-length", "max_length", 1.0),
        ("x-max-length-bytes", "max_length_bytes", 1.0),
        ("x-max-priority", "max_priority", 1.0),
    ] {
        if let Some(value) = arguments.remove(argument) {
            given[option] = match value.as_f64() {
                Some(number) if unit > 1.0 => json!(number / unit),
                _ => notation::from_value(&value),
            };
        }
    }
    given["queue_arguments"] = table(&arguments);
    given
}

fn binding(binding: &Binding) -> Json {
    json!({
        "exchange": exchange(binding.exchange()),
        "routing_key": binding.routing_key(),
        "arguments": table(binding.arguments()),
    })
}

/// A table, or null for an empty one, as Kombu has it.
fn table(table: &Table) -> Json {
    if table.is_empty() {
        return Json::Null;
    }
    let convert = |(name, value): (&str, &Value)| (name.to_owned(), notation::from_value(value));
    Json::Object(table.iter().map(convert).collect::<Map<_, _>>())
}
