//! What is different on MariaDB.

mod conflicts;
mod ended;
mod races;
mod settings;
