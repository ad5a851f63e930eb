//! The match of a headers exchange.

use kombu_core::{Table, Value};

/// Whether a message's headers match a binding's arguments, as in RabbitMQ: with `x-match` `all`
/// (the default) every argument, with `any` one of them; arguments that begin with `x-` count only
/// for `all-with-x` and `any-with-x`. An argument without value asks for the name only.
pub(super) fn matches(arguments: &Table, headers: &Table) -> bool {
    let mode = arguments.get("x-match").and_then(Value::as_str).unwrap_or("all");
    let with_x = mode.ends_with("-with-x");
    let mut wanted = arguments
        .iter()
        .filter(|(name, _)| *name != "x-match" && (with_x || !name.starts_with("x-")))
        .map(|(name, value)| {
            headers.get(name).is_some_and(|header| *value == Value::Null || same(value, header))
        });
    if mode.starts_with("any") { wanted.any(|fits| fits) } else { wanted.all(|fits| fits) }
}

/// Numbers are equal across their types.
fn same(wanted: &Value, header: &Value) -> bool {
    wanted == header
        || match (wanted, header) {
            (Value::Float(_), _) | (_, Value::Float(_)) => {
                matches!((wanted.as_f64(), header.as_f64()), (Some(a), Some(b)) if a == b)
            }
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_match_all_or_any() {
        let headers = Table::new().with("a", 1).with("b", "x").with("x-c", true);
        let all = Table::new().with("a", 1).with("b", "x");
        assert!(matches(&all, &headers));
        assert!(!matches(&all.clone().with("d", 1), &headers));
        assert!(matches(&all.with("d", 1).with("x-match", "any"), &headers));
        assert!(!matches(&Table::new().with("x-match", "any").with("a", 2), &headers));
    }

    #[test]
    fn headers_of_x_count_only_when_asked() {
        let headers = Table::new().with("x-c", true);
        let binding = Table::new().with("x-c", true);
        assert!(!matches(&binding.clone().with("x-match", "any"), &headers));
        assert!(matches(&binding.with("x-match", "any-with-x"), &headers));
        assert!(!matches(&Table::new().with("x-c", 1).with("x-match", "all-with-x"), &headers));
    }

    #[test]
    fn headers_without_arguments_follow_logic() {
        let headers = Table::new().with("a", 1);
        assert!(matches(&Table::new(), &headers));
        assert!(!matches(&Table::new().with("x-match", "any"), &headers));
    }

    #[test]
    fn headers_ask_for_the_name_alone_and_compare_numbers() {
        let headers = Table::new().with("a", 1).with("f", 2.0);
        assert!(matches(&Table::new().with("a", Value::Null), &headers));
        assert!(!matches(&Table::new().with("z", Value::Null), &headers));
        assert!(matches(&Table::new().with("f", 2), &headers));
    }
}
