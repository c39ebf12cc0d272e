//! The database behind the example's back.

use demo::testing::sql::{execute, fetch, is_sqlite};

/// What a record was at one moment.
#[derive(Debug, PartialEq, sqlx::FromRow)]
pub(crate) struct Seen {
    /// 1 in flight, 2 completed, 3 failed.
    pub(crate) state: i64,
    /// Executions so far.
    pub(crate) number: i64,
    /// How long it would be kept from then on.
    pub(crate) seconds: i64,
}

/// From now on all that becomes of records is kept.
pub(crate) async fn watch_records(url: &str) {
    let table = "CREATE TABLE seen (state bigint, number bigint, seconds bigint);";
    let triggers = if is_sqlite(url) {
        let trigger = |event| {
            format!(
                "CREATE TRIGGER seen_{event} AFTER {event} ON idem BEGIN \
                 INSERT INTO seen SELECT NEW.state, NEW.number, \
                 CAST(round(NEW.expires_at / 1000.0 - unixepoch('subsec')) AS integer); END;"
            )
        };
        trigger("INSERT") + &trigger("UPDATE")
    } else {
        "CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         INSERT INTO seen SELECT NEW.state, NEW.number, \
         round(extract(epoch FROM NEW.expires_at - clock_timestamp())); RETURN NULL; END $$; \
         CREATE TRIGGER see AFTER INSERT OR UPDATE ON idem FOR EACH ROW EXECUTE FUNCTION see();"
            .to_owned()
    };
    execute(url, &(table.to_owned() + &triggers)).await;
}

/// What became of the only record, without its renewals.
pub(crate) async fn seen(url: &str) -> Vec<Seen> {
    let mut seen: Vec<Seen> = fetch(url, "SELECT state, number, seconds FROM seen").await;
    seen.dedup_by_key(|it| (it.state, it.number));
    seen
}

/// The states of all records.
pub(crate) async fn states(url: &str) -> Vec<i64> {
    let states: Vec<(i64,)> = fetch(url, "SELECT CAST(state AS bigint) FROM idem").await;
    states.into_iter().map(|(state,)| state).collect()
}
