//! A table, as aligned text and as Markdown.

use std::fmt::Write as _;

/// Rows under a head; the first column holds names, the others numbers.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) title: String,
    pub(super) head: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
}

impl Table {
    /// Without rows.
    pub(super) fn new(title: impl Into<String>, head: &[&'static str]) -> Self {
        Self { title: title.into(), head: head.to_vec(), rows: Vec::new() }
    }

    /// For a terminal.
    pub(super) fn text(&self) -> String {
        let widths: Vec<usize> = (0..self.head.len()).map(|column| self.width(column)).collect();
        let mut text = format!("{}\n", self.title);
        let head: Vec<String> = self.head.iter().map(|&name| name.to_owned()).collect();
        for row in std::iter::once(&head).chain(&self.rows) {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
                if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            let line = cells.collect::<Vec<_>>().join("  ");
            let _infallible = writeln!(text, "  {}", line.trim_end());
        }
        text
    }

    /// For a page, under a heading.
    pub(super) fn markdown(&self) -> String {
        let rule: Vec<&str> =
            (0..self.head.len()).map(|column| if column == 0 { "---" } else { "---:" }).collect();
        let mut text = format!("### {}\n\n", self.title);
        let _infallible = writeln!(text, "| {} |", self.head.join(" | "));
        let _infallible = writeln!(text, "| {} |", rule.join(" | "));
        for row in &self.rows {
            let _infallible = writeln!(text, "| {} |", row.join(" | "));
        }
        text
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column)).map(String::as_str);
        let head = self.head.get(column).copied();
        head.into_iter().chain(cells).map(|cell| cell.chars().count()).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new("title", &["who", "rate"]);
        table.rows.push(vec!["a".to_owned(), "1".to_owned()]);
        table.rows.push(vec!["longer".to_owned(), "1,000".to_owned()]);
        assert_eq!(table.text(), "title\n  who      rate\n  a           1\n  longer  1,000\n");
        assert!(table.markdown().contains("| who | rate |\n| --- | ---: |\n| a | 1 |\n"));
    }
}
