//! Every feature compiles without warnings: none, each alone, all together.

use cargo_metadata::{MetadataCommand, Package};

use crate::process::{Result, cargo, run};

pub(crate) fn check_each_alone() -> Result {
    let metadata = MetadataCommand::new().no_deps().exec()?;
    let published = |package: &&&Package| package.publish.as_ref().is_none_or(|to| !to.is_empty());
    for package in metadata.workspace_packages().iter().filter(published) {
        if package.features.is_empty() {
            continue;
        }
        let alone = package.features.keys().filter(|name| *name != "default");
        let alone = alone.map(|name| format!("--no-default-features --features {name}"));
        let none_and_all = ["--no-default-features", "--all-features"].map(str::to_owned);
        for selection in none_and_all.into_iter().chain(alone) {
            let name = &package.name;
            // Not `cargo check` with `RUSTFLAGS`, which would build all dependencies again.
            run(&mut cargo(&format!("clippy -p {name} {selection} --locked -- -D warnings")))?;
        }
    }
    Ok(())
}
