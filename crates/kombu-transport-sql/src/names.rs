//! The names of tables, checked before they become part of any statement.

use kombu_core::{Error, ErrorKind, Result};

/// The tables of one broker: Kombu's two, and this crate's own beside them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Names {
    pub(crate) queue: String,
    pub(crate) message: String,
    /// Exchanges and the properties of queues.
    pub(crate) entity: String,
    pub(crate) binding: String,
    /// Connections that hold messages.
    pub(crate) holder: String,
    /// Priorities and times of expiry.
    pub(crate) rank: String,
}

impl Names {
    /// Checks the names of Kombu's tables and derives the others.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a name that is more than letters, digits and underscores.
    pub(crate) fn new(queue: &str, message: &str) -> Result<Self> {
        check("queue_tablename", queue)?;
        check("message_tablename", message)?;
        if queue.eq_ignore_ascii_case(message) {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "options queue_tablename and message_tablename name the same table; write two",
            ));
        }
        Ok(Self {
            queue: queue.to_owned(),
            message: message.to_owned(),
            entity: format!("{queue}_entity"),
            binding: format!("{queue}_binding"),
            holder: format!("{message}_holder"),
            rank: format!("{message}_rank"),
        })
    }
}

fn check(option: &str, name: &str) -> Result<()> {
    let starts = name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_');
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if starts && plain && name.len() <= LONGEST {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidArgument,
        format!(
            "option {option} is {name:?}; write letters, digits and underscores, no digit first, \
             at most {LONGEST}"
        ),
    ))
}

/// With what is appended it fits into the 63 bytes that PostgreSQL keeps of a name.
const LONGEST: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_are_taken() {
        let names = Names::new("kombu_queue", "Messages2").unwrap();
        assert_eq!(names.entity, "kombu_queue_entity");
        assert_eq!(names.rank, "Messages2_rank");
    }

    #[test]
    fn what_is_no_plain_name_is_refused() {
        let long = "x".repeat(LONGEST + 1);
        for wrong in ["", "1st", "a b", "a;drop table x", "a\"b", "a`b", "a.b", "ä", &long] {
            let error = Names::new("kombu_queue", wrong).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.to_string().contains("message_tablename"), "{error}");
        }
        assert!(Names::new("same", "SAME").is_err());
    }
}
