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

/// The arguments of `Queue`.
pub(crate) fn queue(queue: &Queue) -> Json {
    json!({
        "name": queue.name(),
        "durable": queue.is_durable(),
        "exclusive": queue.is_exclusive(),
        "auto_delete": queue.is_auto_delete(),
        "bindings": queue.bindings().iter().map(binding).collect::<Vec<_>>(),
        "queue_arguments": table(queue.arguments()),
    })
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
