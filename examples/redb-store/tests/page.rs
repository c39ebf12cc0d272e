//! The page `docs/writing-a-store.md` shows this store as it is.

const PAGE: &str = include_str!("../../../docs/writing-a-store.md");

const FILES: [(&str, &str); 4] = [
    ("src/row.rs", include_str!("../src/row.rs")),
    ("src/table.rs", include_str!("../src/table.rs")),
    ("src/lib.rs", include_str!("../src/lib.rs")),
    ("tests/conformance.rs", include_str!("conformance.rs")),
];

/// The blocks of Rust below a heading that names the file, put together.
fn shown(file: &str) -> String {
    let heading = format!("\n## `{file}`");
    let (_, section) = PAGE.split_once(&heading).unwrap_or_else(|| panic!("no section on {file}"));
    let section = section.split("\n## ").next().unwrap_or_default();
    let blocks = section.split("```rust,ignore\n").skip(1);
    let blocks: Vec<_> = blocks.map(|it| it.split("```").next().unwrap_or_default()).collect();
    blocks.join("\n")
}

#[test]
fn the_page_shows_the_whole_code() {
    for (file, code) in FILES {
        let shown = shown(file);
        let differs = shown.lines().zip(code.lines()).position(|(shown, code)| shown != code);
        assert!(
            shown == code,
            "{file} differs from the page in line {:?}",
            differs.map(|it| it + 1)
        );
    }
}
