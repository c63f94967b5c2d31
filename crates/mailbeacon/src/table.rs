//! Text in columns, for a terminal.

/// Rows under their headings, two spaces between columns. Columns whose headings start with `>` are set to the right.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let right: Vec<bool> = headings.iter().map(|heading| heading.starts_with('>')).collect();
    let headings: Vec<String> =
        headings.iter().map(|heading| heading.trim_start_matches('>').to_owned()).collect();
    let all = || std::iter::once(&headings).chain(rows);
    let width =
        |n: usize| all().filter_map(|row| row.get(n)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let mut text = String::new();
    for row in all() {
        let mut line = String::new();
        for ((cell, &width), right) in row.iter().zip(&widths).zip(&right) {
            line.push_str(&if *right { format!("{cell:>width$}  ") } else { format!("{cell:<width$}  ") });
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["long".to_owned(), "22".to_owned()]];
        assert_eq!(super::table(&["what", ">n"], &rows), "what   n\na      1\nlong  22\n");
    }
}
