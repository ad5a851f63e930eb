//! The table on the terminal.

use std::fmt::Write as _;

use super::reading::Reading;

/// A table that is drawn again and again: in its place on a terminal, else below the last one.
#[derive(Debug)]
pub(super) struct Table {
    in_place: bool,
    /// How many lines the last drawing had.
    drawn: usize,
}

impl Table {
    pub(super) fn new(in_place: bool) -> Self {
        Self { in_place, drawn: 0 }
    }

    /// The text that shows the readings.
    pub(super) fn draw(&mut self, readings: &[Reading]) -> String {
        let widest = readings.iter().map(|reading| reading.queue().chars().count()).max();
        let width = widest.unwrap_or_default().max("queue".len());
        let mut text = String::new();
        if self.in_place && self.drawn > 0 {
            // Up to the first line, and all below it cleared.
            let _infallible = write!(text, "\x1b[{}A\x1b[J", self.drawn);
        }
        let heading = row("queue", width, "messages", "per second", "consumers");
        let rows = readings.iter().map(|reading| {
            let messages = match reading.messages() {
                Some(messages) => messages.to_string(),
                None => reading.state().to_owned(),
            };
            let rate = reading.rate().map(|rate| format!("{rate:+.1}")).unwrap_or_default();
            let consumers = reading.consumers().map(|count| count.to_string()).unwrap_or_default();
            row(reading.queue(), width, &messages, &rate, &consumers)
        });
        // In one line of any terminal, so that it is known how many lines there are.
        let note = readings.iter().find_map(Reading::error);
        let note = note.map(|error| error.to_string().chars().take(NOTE).collect());
        let lines: Vec<_> = [heading].into_iter().chain(rows).chain(note).collect();
        for line in &lines {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        self.drawn = lines.len();
        text
    }
}

fn row(queue: &str, width: usize, messages: &str, rate: &str, consumers: &str) -> String {
    format!("{queue:width$}  {messages:>12}  {rate:>12}  {consumers:>9}")
}

/// How much is said of an error.
const NOTE: usize = 79;
