//! A whole move under load, on real stores.

use std::time::Duration;

use idem_testkit::Harness;

use crate::{
    file::File,
    moving::Moving,
    postgres, redis,
    service::{Page, Service},
};

/// Longer than any record of the service lives.
const LONG: Duration = Duration::from_hours(3);

/// What the moves of these tests need besides the suite.
async fn move_to_postgres(old: impl Harness) -> Service {
    let database = postgres::Database::fresh().await;
    let outside = database.outside.clone();
    let moving = Moving::of(old, database);
    let old = async || moving.old.open().await;
    let both = async || moving.open().await;
    let new = async || moving.new.open().await;

    let service = Service::start(old).await;
    service.roll_out(both).await;

    moving.elapse(LONG).await;
    let above = service.book.highest_fence() + 1_000_000_000_000;
    let raise = "SELECT setval('idem_fence', $1)";
    sqlx::query(raise).bind(above).execute(&outside).await.unwrap();

    let service = service.with_keys("second");
    service.roll_out(new).await;
    service
}

fn is_right(page: &Page) -> bool {
    let grow = page.fences.is_sorted_by(|a, b| a < b);
    page.effects == 1 && page.answers.len() == 1 && page.fences.len() <= 2 && grow
}

fn assert_all_right(service: &Service) {
    let pages = service.book.pages();
    // Ten keys at the beginning and after each of three replacements, twice.
    assert_eq!(pages.len(), 80);
    for (key, page) in pages {
        let Page { fences, effects, answers } = &page;
        assert!(
            is_right(&page),
            "{key}: {effects} effects, answers {answers:?}, fences {fences:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_runs_twice_on_the_way_from_sqlite_to_postgres() {
    assert_all_right(&move_to_postgres(File::fresh().await).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_runs_twice_on_the_way_from_redis_to_postgres() {
    assert_all_right(&move_to_postgres(redis::Database::on_server()).await);
}

/// What the other tests would find if something ran twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_move_without_the_time_between_runs_things_twice() {
    let (old, new) = (File::fresh().await, postgres::Database::fresh().await);
    let service = Service::start(async || old.open().await).await;
    service.roll_out(async || new.open().await).await;
    let twice = service.book.pages().into_values().filter(|page| page.effects > 1).count();
    assert!(twice > 0, "clients call with each key before and after");
}
