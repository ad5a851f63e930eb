//! Whether a declaration says the same as an earlier one (AMQP's "equivalent").

use std::fmt::Display;

use kombu_core::{Error, ErrorKind, Exchange, Queue, Result, Table, Value};

/// Checks the declaration of an exchange against the known one.
pub(crate) fn exchange(known: &Exchange, declared: &Exchange) -> Result<()> {
    let differ = Difference { entity: "exchange", name: known.name() };
    differ.check("type", known.kind(), declared.kind())?;
    differ.check("durable", &known.is_durable(), &declared.is_durable())?;
    differ.check("auto_delete", &known.is_auto_delete(), &declared.is_auto_delete())?;
    differ.check("internal", &known.is_internal(), &declared.is_internal())?;
    differ.check_arguments(known.arguments(), declared.arguments())
}

/// Checks the declaration of a queue against the known one.
pub(crate) fn queue(known: &Queue, declared: &Queue) -> Result<()> {
    let differ = Difference { entity: "queue", name: known.name() };
    differ.check("durable", &known.is_durable(), &declared.is_durable())?;
    differ.check("exclusive", &known.is_exclusive(), &declared.is_exclusive())?;
    differ.check("auto_delete", &known.is_auto_delete(), &declared.is_auto_delete())?;
    differ.check_arguments(known.arguments(), declared.arguments())
}

struct Difference<'a> {
    entity: &'static str,
    name: &'a str,
}

impl Difference<'_> {
    fn check<T: PartialEq + Display>(&self, what: &str, known: &T, declared: &T) -> Result<()> {
        if known == declared {
            return Ok(());
        }
        Err(self.error(what, known, declared))
    }

    fn check_arguments(&self, known: &Table, declared: &Table) -> Result<()> {
        let names = known.iter().chain(declared.iter()).map(|(name, _)| name);
        let shown = |table: &Table, name| table.get(name).map_or("none".to_owned(), show);
        for name in names {
            if known.get(name) != declared.get(name) {
                return Err(self.error(name, &shown(known, name), &shown(declared, name)));
            }
        }
        Ok(())
    }

    fn error(&self, what: &str, known: &dyn Display, declared: &dyn Display) -> Error {
        Error::new(
            ErrorKind::PreconditionFailed,
            format!(
                "{} {:?} exists with another {what:?}: declared {declared}, is {known}",
                self.entity, self.name
            ),
        )
    }
}

fn show(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("{text:?}"),
        Value::Int(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        other => format!("{other:?}"),
    }
}
