//! The process ends, unwinding nothing, exactly between two steps of an execution.

use std::os::unix::process::ExitStatusExt;

use demo::on_each_database;
use idem_testkit::crash;
use reqwest::StatusCode;

use crate::{
    app::{Communities, setup},
    tables::counts,
};

on_each_database! {
    async fn a_community_is_created_once_wherever_its_process_ends(database: Database) {
        let own = "communities::after-first-write";
        for point in crash::POINTS.into_iter().chain([own]) {
            let setup = setup(database);
            let url = setup.database_url();
            let (variable, value) = crash::environment(point);
            let app = setup.clone().variable(variable, value).start();
            let unanswered = app.named("k", "My Community").send().await;
            assert!(unanswered.is_err(), "{point}: {unanswered:?}");
            let aborted = 6;
            assert_eq!(app.ended().await.signal(), Some(aborted), "{point}");

            let is_committed = point == "idem::after-commit";
            let app = setup.start();
            let expected = if is_committed { [1, 1, 1, 0, 1] } else { [0; 5] };
            assert_eq!(counts(&url).await, expected, "{point}");
            let retry = app.create_until_answered("k", "My Community").await;
            assert_eq!((retry.status, retry.replayed()), (StatusCode::CREATED, is_committed));
            assert_eq!(app.communities().await, [retry.body], "{point}");
            assert_eq!(counts(&url).await, [1, 1, 1, 0, 1], "{point}");
        }
    }
}
