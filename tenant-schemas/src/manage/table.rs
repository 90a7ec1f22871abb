//! [`Table`]: rows of text, aligned for people or separated by tabs for programs.

use console::{measure_text_width, style};

/// Rows of text under headings.
#[derive(Debug, Default)]
pub(super) struct Table {
    headings: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new<S: Into<String>>(headings: impl IntoIterator<Item = S>) -> Self {
        Self {
            headings: headings.into_iter().map(Into::into).collect(),
            rows: Vec::new(),
        }
    }

    pub(super) fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Two blanks between columns; the last one is as long as it is. Nothing, if there are no rows.
    pub(super) fn aligned(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let mut widths = vec![0; self.headings.len()];
        for row in std::iter::once(&self.headings).chain(&self.rows) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(measure_text_width(&one_line(cell)));
            }
        }
        let headings: Vec<String> = self
            .headings
            .iter()
            .map(|h| style(h).bold().to_string())
            .collect();
        let mut text = String::new();
        for row in std::iter::once(&headings).chain(&self.rows) {
            let mut line = String::new();
            for (width, cell) in widths.iter().zip(row) {
                let cell = one_line(cell);
                let missing = width.saturating_sub(measure_text_width(&cell));
                line.push_str(&cell);
                line.push_str(&" ".repeat(missing + 2));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// A line for each row and no heading; tabs, line breaks and backslashes within a cell are
    /// written as `\t`, `\n`, `\r` and `\\`.
    pub(super) fn tsv(&self) -> String {
        let mut text = String::new();
        for row in &self.rows {
            let cells: Vec<String> = row.iter().map(|cell| escaped(cell)).collect();
            text.push_str(&cells.join("\t"));
            text.push('\n');
        }
        text
    }
}

fn one_line(cell: &str) -> String {
    cell.replace(['\n', '\r', '\t'], " ")
}

fn escaped(cell: &str) -> String {
    cell.replace('\\', "\\\\")
        .replace('\t', "\\t")
        .replace('\n', "\\n")
        .replace('\r', "\\r")
}

/// `1 schema`, `2 schemas`.
pub(super) fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_people_see_them() {
        let mut table = Table::new(["schema", "name"]);
        table.row(["a", "Zoë"]);
        table.row(["tenant_10", "日本 hotel\nannex"]);
        assert_eq!(
            console::strip_ansi_codes(&table.aligned()),
            "schema     name\na          Zoë\ntenant_10  日本 hotel annex\n"
        );
        assert_eq!(Table::new(["schema"]).aligned(), "");
    }

    #[test]
    fn a_cell_can_break_no_line_of_tab_separated_values() {
        let mut table = Table::new(["a", "b"]);
        table.row(["x\ty", "back\\slash\nline"]);
        assert_eq!(table.tsv(), "x\\ty\tback\\\\slash\\nline\n");
    }
}
