//! The same work without the attribute: the index alone says no.

use futures_util::future::join_all;
use reqwest::StatusCode;

use crate::{
    app::{Answer, App, Donations, GUARDED, UNGUARDED, code, donation, is_duplicate, setup},
    tables,
};

async fn give_unguarded(app: &App, user: &str, key: &str) -> Answer {
    Answer::to(app.donation(UNGUARDED, user, key)).await
}

/// Asserts that of all these, one made a donation, and the table refused all others.
fn is_one_donation(answers: &[Answer]) {
    let (made, refused): (Vec<_>, Vec<_>) =
        answers.iter().partition(|it| it.status == StatusCode::CREATED);
    assert_eq!(made.len(), 1, "{answers:?}");
    assert!(refused.into_iter().all(is_duplicate), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_hundred_at_once_one_is_made_and_ninety_nine_are_refused_cleanly() {
    let app = setup().variable("HANDLER_DELAY_MS", "300").start();
    let answers = join_all((0..100).map(|_| give_unguarded(&app, "ann", "k"))).await;
    is_one_donation(&answers);
    assert_eq!(app.donations().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_hundred_at_once_over_two_processes_one_is_made() {
    let setup = setup();
    let (one, other) = (setup.start(), setup.start());
    let calls = (0..100).map(|i| give_unguarded([&one, &other][i % 2], "ann", "k"));
    is_one_donation(&join_all(calls).await);
    assert_eq!(one.donations().await.len(), 1);
}

#[tokio::test]
async fn guarded_or_not_the_same_key_meets_in_one_index() {
    let setup = setup();
    let app = setup.start();
    let guarded = app.give("guarded first").await;
    assert_eq!(guarded.status, StatusCode::CREATED);
    assert!(is_duplicate(&give_unguarded(&app, "ann", "\"guarded first\"").await));
    let unguarded = give_unguarded(&app, "ann", "unguarded first").await;
    assert_eq!(unguarded.status, StatusCode::CREATED);
    assert!(is_duplicate(&app.give("unguarded first").await));
    let of_bob = give_unguarded(&app, "bob", "guarded first").await;
    assert_eq!(of_bob.status, StatusCode::CREATED, "of another user, it is another key");
    assert_eq!(app.donations().await.len(), 3);
}

#[tokio::test]
async fn without_a_key_it_gives_again_as_it_did_before() {
    let setup = setup();
    let app = setup.start();
    for _ in 0..2 {
        let call = app.post(UNGUARDED, &donation()).bearer_auth("ann");
        assert_eq!(Answer::to(call).await.status, StatusCode::CREATED);
    }
    assert_eq!(app.list(GUARDED).await.len(), 2);
    assert_eq!(tables::keys(&setup.database_url()).await, [None, None]);
}

#[tokio::test]
async fn a_key_that_is_none_is_refused_as_on_the_guarded_route() {
    let app = setup().start();
    let (here, there) = (give_unguarded(&app, "ann", "\"open").await, app.give("\"open").await);
    assert_eq!((here.status, code(&here)), (StatusCode::BAD_REQUEST, "KEY_INVALID"));
    assert_eq!(here.body, there.body);
    assert!(app.donations().await.is_empty());
}
