//! Exchanges, queues and bindings as rows.

use kombu_core::codec::json;
use kombu_core::{Error, ErrorKind, Exchange, Queue, Result, Table, Value};
use kombu_virtual::{Destination, Route};

use crate::session::{Arg, Cell, Column};

/// The kind of an exchange, and of a binding that leads to one.
pub(crate) const EXCHANGE: &str = "e";

/// The kind of a queue.
pub(crate) const QUEUE: &str = "q";

/// The kind of a binding that leads to a queue.
pub(crate) const TO_QUEUE: &str = "q";

/// The columns of a binding.
pub(crate) const ROUTE: &[Column] = &[Column::Text; 5];

/// The properties of an exchange, without its name.
pub(crate) fn of_exchange(exchange: &Exchange) -> Table {
    Table::new()
        .with("type", exchange.kind().as_str())
        .with("durable", exchange.is_durable())
        .with("auto_delete", exchange.is_auto_delete())
        .with("internal", exchange.is_internal())
        .with("arguments", exchange.arguments().clone())
}

/// The exchange of these properties.
pub(crate) fn exchange(name: &str, properties: &Table) -> Exchange {
    let kind = properties.get("type").and_then(Value::as_str).unwrap_or("direct");
    let is = |property| properties.get(property).and_then(Value::as_bool) == Some(true);
    let exchange = Exchange::new(name, kind)
        .durable(is("durable"))
        .auto_delete(is("auto_delete"))
        .internal(is("internal"));
    arguments(properties)
        .into_iter()
        .fold(exchange, |exchange, (name, value)| exchange.argument(name, value))
}

/// The properties of a queue, without its name.
pub(crate) fn of_queue(queue: &Queue) -> Table {
    Table::new()
        .with("durable", queue.is_durable())
        .with("exclusive", queue.is_exclusive())
        .with("auto_delete", queue.is_auto_delete())
        .with("arguments", queue.arguments().clone())
}

/// The queue of these properties.
pub(crate) fn queue(name: &str, properties: &Table) -> Queue {
    let is = |property| properties.get(property).and_then(Value::as_bool) == Some(true);
    let queue = Queue::new(name)
        .durable(is("durable"))
        .exclusive(is("exclusive"))
        .auto_delete(is("auto_delete"));
    arguments(properties)
        .into_iter()
        .fold(queue, |queue, (name, value)| queue.argument(name, value))
}

fn arguments(properties: &Table) -> Table {
    properties.get("arguments").and_then(Value::as_table).cloned().unwrap_or_default()
}

/// A binding as arguments of a statement, in the order of its columns.
pub(crate) fn route_args(route: &Route) -> Result<Vec<Arg>> {
    let (kind, destination) = match &route.destination {
        Destination::Queue(queue) => (TO_QUEUE, queue),
        Destination::Exchange(exchange) => (EXCHANGE, exchange),
    };
    if route.routing_key.contains('\0') {
        return Err(Error::new(ErrorKind::InvalidArgument, "a binding key cannot have a NUL"));
    }
    Ok(vec![
        route.exchange.as_str().into(),
        route.routing_key.as_str().into(),
        kind.into(),
        Arg::from(&**destination),
        text(&route.arguments)?.into(),
    ])
}

/// A binding from its row.
pub(crate) fn route(row: &[Cell]) -> Result<Route> {
    let field = |at: usize| row.get(at).map(Cell::text).unwrap_or_default();
    let name = field(3).into();
    let destination = match field(2).as_str() {
        EXCHANGE => Destination::Exchange(name),
        _ => Destination::Queue(name),
    };
    let mut route = Route::new(field(0), field(1), destination);
    if let Value::Table(arguments) = json::parse(field(4).as_bytes()).and_then(json::untag)? {
        route.arguments = arguments;
    }
    Ok(route)
}

/// A table as the text of JSON.
pub(crate) fn text(table: &Table) -> Result<String> {
    String::from_utf8(json::write(table)?)
        .map_err(|_| Error::new(ErrorKind::Encode, "JSON that is no text"))
}

/// Checks that the tables can hold a name.
pub(crate) fn check_length(what: &str, name: &str) -> Result<()> {
    if name.chars().count() <= LONGEST && !name.contains('\0') {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidArgument,
        format!("the name of an {what} has at most {LONGEST} characters, and no NUL"),
    ))
}

/// As AMQP has it.
const LONGEST: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exchanges_and_queues_come_back() {
        let made = Exchange::topic("e").auto_delete(true).argument("alternate-exchange", "x");
        assert_eq!(exchange("e", &of_exchange(&made)), made);
        let made = Queue::new("q").durable(false).argument("x-message-ttl", 5);
        assert_eq!(queue("q", &of_queue(&made)), made);
    }

    #[test]
    fn bindings_come_back() {
        let mut made = Route::new("e", "a.#", Destination::Queue("q".into()));
        made.arguments = Table::new().with("x-match", "all").with("n", 1);
        let row: Vec<Cell> = route_args(&made)
            .unwrap()
            .into_iter()
            .map(|arg| match arg {
                Arg::Text(text) => Cell::Text(text.into_bytes()),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(route(&row).unwrap(), made);
    }
}
