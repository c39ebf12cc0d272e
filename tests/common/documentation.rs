//! What the documentation says, to be held against what is.

use crate::log::Event;

pub(crate) const OBSERVABILITY: &str = include_str!("../../docs/observability.md");

/// The cells of the table whose first column is called so, without backquotes.
pub(crate) fn rows(page: &str, first_column: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| -> Vec<String> {
        let cells = line.trim_matches('|').split(" |").map(|it| it.trim().replace('`', ""));
        cells.collect()
    };
    let mut lines =
        page.lines().skip_while(|line| !line.starts_with(&format!("| {first_column} |")));
    lines.next().unwrap_or_else(|| panic!("no table of {first_column}"));
    lines.skip(1).take_while(|line| line.starts_with('|')).map(cells).collect()
}

/// Level, message and fields of an event are those that the documentation names.
#[track_caller]
pub(crate) fn assert_documented(event: &Event) {
    let (level, message, outcome) = event.gist();
    let outcomes = rows(OBSERVABILITY, "outcome");
    let row = outcomes.iter().find(|row| row[0] == outcome).expect("a documented outcome");
    if message != "waited" {
        assert_eq!((&*level.to_string().to_lowercase(), message), (&*row[1], &*row[2]));
    }
    let fields = rows(OBSERVABILITY, "field");
    for name in event.fields.keys() {
        assert!(fields.iter().any(|row| row[0] == *name), "{name} is no documented field");
    }
}
