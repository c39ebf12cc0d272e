//! After its ttl a record is gone.

use std::time::{Duration, Instant};

use demo::{on_each_database, testing::PATIENCE};
use reqwest::StatusCode;

use crate::{
    app::{Communities, setup},
    tables::keys,
};

on_each_database! {
    async fn after_the_ttl_the_sweeper_has_removed_the_record(database: Database) {
        let setup = setup(database);
        let url = setup.database_url();
        let brief = setup.clone().variable("TTL", "1s").variable("SWEEP_EVERY", "1d").start();
        brief.create("brief", "My Community").await;
        assert_eq!(keys(&url).await, ["brief"], "nobody has swept");
        brief.kill();

        let app = setup.variable("SWEEP_EVERY", "1s").start();
        app.create("lasting", "Another").await;
        let start = Instant::now();
        while keys(&url).await != ["lasting"] {
            assert!(start.elapsed() < PATIENCE, "{:?}", keys(&url).await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let again = app.create("brief", "My Community").await;
        assert_eq!((again.status, again.replayed()), (StatusCode::CREATED, false));
        assert_eq!(app.slugs().await, ["another", "my-community", "my-community-1"]);
        assert!(app.create("lasting", "Another").await.replayed());
    }
}
