//! The records behind an example's back.

use super::sql::{execute, is_sqlite};

/// From now on no answer can be recorded.
pub async fn refuse_answers(url: &str) {
    if is_sqlite(url) {
        let trigger = |event| {
            format!(
                "CREATE TRIGGER on_{event} BEFORE {event} ON idem WHEN NEW.state = 2 \
                 BEGIN SELECT raise(ABORT, 'refused'); END;"
            )
        };
        execute(url, &(trigger("INSERT") + &trigger("UPDATE"))).await;
    } else {
        on_answers(url, "RAISE 'refused'").await;
    }
}

/// From now on Postgres takes ten minutes to record an answer.
pub async fn delay_answers(url: &str) {
    on_answers(url, "PERFORM pg_sleep(600)").await;
}

async fn on_answers(url: &str, statement: &str) {
    let function = format!(
        "CREATE FUNCTION on_answers() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN {statement}; RETURN NEW; END $$; \
         CREATE TRIGGER on_answers BEFORE INSERT OR UPDATE ON idem FOR EACH ROW \
         WHEN (NEW.state = 2) EXECUTE FUNCTION on_answers()"
    );
    execute(url, &function).await;
}

/// Answers can be recorded again.
pub async fn accept_answers(url: &str) {
    let drop = if is_sqlite(url) {
        "DROP TRIGGER on_INSERT; DROP TRIGGER on_UPDATE"
    } else {
        "DROP TRIGGER on_answers ON idem"
    };
    execute(url, drop).await;
}

/// Ends the sessions of a process that is dead: Postgres notices it only when they have something to
/// say, and may still be about to do what it was sent last.
pub async fn end_sessions(url: &str) {
    if !is_sqlite(url) {
        let end = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity \
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        execute(url, end).await;
    }
}
