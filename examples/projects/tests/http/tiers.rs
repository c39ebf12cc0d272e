//! `REDIS_URL` set, not set, wrong, and what it names dying, freezing, forgetting and coming back: one
//! project each time.

use std::time::{Duration, Instant};

use demo::{on_each_database, testing::PATIENCE};
use futures_util::future::join_all;
use idem_testkit::RedisServer;
use reqwest::StatusCode;
use serde_json::json;

use crate::app::{Answer, App, Database, Projects, one_project, setup};

const HITS: &str = "idem_cache_reads_total{result=\"hit\"}";
const MISSES: &str = "idem_cache_reads_total{result=\"miss\"}";
const SKIPPED: &str = "idem_cache_reads_total{result=\"skipped\"}";
const DOWN: &str = "idem_cache_down";

/// Many requests for one new project at once, and later ones for it.
async fn create_once(app: &App, name: &str) {
    let mut answers = join_all((0..20).map(|_| Answer::to(app.named(name)))).await;
    for _ in 0..5 {
        answers.push(Answer::to(app.named(name)).await);
    }
    one_project(&answers);
    let projects = app.projects().await;
    assert_eq!(projects.iter().filter(|it| it["name"] == name).count(), 1);
}

/// Repeats a request until it was replayed from the cache several times: a busy machine may keep it from
/// answering in time.
async fn hits(app: &App) {
    let (start, before) = (Instant::now(), app.metric(HITS).await);
    while app.metric(HITS).await < before + 5 {
        assert!(start.elapsed() < PATIENCE, "replays are no hits");
        assert!(Answer::to(app.named("Apollo")).await.replayed());
    }
}

async fn comes_to(app: &App, metric: &str, value: i64) {
    let start = Instant::now();
    while app.metric(metric).await != value {
        assert!(start.elapsed() < PATIENCE, "{metric} is not {value}");
        app.ready().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

on_each_database! {
    async fn with_redis_both_tiers_are_live_and_replays_are_hits(database: Database) {
        let durable = if matches!(database, Database::Sqlite) { "sqlite" } else { "postgres" };
        let app = setup(database).variable("REDIS_URL", RedisServer::shared().url()).start();
        assert!(app.greeting().contains("cache: redis"), "{}", app.greeting());
        app.has_logged("both tiers are live").await;
        app.has_cache("redis").await;
        assert_eq!(app.ready().await.body["durable"], durable);
        create_once(&app, "Apollo").await;
        hits(&app).await;
        assert!(app.metric(MISSES).await >= 1);
        comes_to(&app, DOWN, 0).await;
    }

    async fn without_redis_it_is_said_and_there_is_one_project_all_the_same(database: Database) {
        for setup in [setup(database), setup(database).variable("REDIS_URL", "")] {
            let app = setup.start();
            app.has_logged("REDIS_URL is not set").await;
            assert_eq!(app.ready().await.body["cache"], "none");
            create_once(&app, "Apollo").await;
        }
    }

    async fn whatever_is_wrong_with_the_url_it_is_said_and_there_is_one_project(database: Database) {
        for wrong in [
            "redis://127.0.0.1:1",
            "redis://nowhere.invalid:6379",
            "redis://127.0.0.1:99999",
            "redis://",
            "redis",
            "http://127.0.0.1",
            "}{ no url at all",
            "redis://user:hunter2@127.0.0.1:1",
            "redis://user:hunter2@127.0.0.1:port",
        ] {
            let app = setup(database).variable("REDIS_URL", wrong).start();
            assert!(app.greeting().contains("cache: down"), "{wrong}: {}", app.greeting());
            app.has_logged("ERROR").await;
            let ready = app.ready().await;
            assert_eq!((ready.status, &ready.body["cache"]), (StatusCode::OK, &json!("down")), "{wrong}");
            create_once(&app, "Apollo").await;
            comes_to(&app, DOWN, 1).await;
            assert!(app.metric(SKIPPED).await >= 5, "{wrong}");
            let log = app.log();
            assert!(log.contains("REDIS_URL"), "{wrong}: {log}");
            assert!(!log.contains("hunter2"), "{log}");
        }
    }

    async fn a_cache_that_dies_and_comes_back_mid_traffic_costs_no_project(database: Database) {
        let redis = RedisServer::start();
        let setup = setup(database).variable("REDIS_URL", redis.url());
        let (app, other) = (setup.start(), setup.start());
        create_once(&app, "before").await;
        let traffic = async {
            for i in 0..15 {
                let name = i.to_string();
                tokio::join!(create_once(&app, &name), create_once(&other, &name));
            }
        };
        let redis = tokio::task::spawn_blocking(move || {
            std::thread::sleep(Duration::from_millis(300));
            redis.stop();
            redis
        });
        let (redis, ()) = tokio::join!(redis, traffic);
        let redis = redis.unwrap();
        for app in [&app, &other] {
            app.has_cache("down").await;
            create_once(app, "while it is down").await;
            app.has_logged("the cache does not work").await;
            comes_to(app, DOWN, 1).await;
        }
        tokio::task::block_in_place(|| redis.restart());
        for app in [&app, &other] {
            app.has_cache("redis").await;
            app.has_logged("the cache works again").await;
            create_once(app, "after").await;
            comes_to(app, DOWN, 0).await;
        }
        assert_eq!(app.projects().await.len(), 18);
    }

    async fn a_cache_that_freezes_or_forgets_costs_no_project(database: Database) {
        let redis = RedisServer::start();
        let app = setup(database).variable("REDIS_URL", redis.url()).start();
        create_once(&app, "before").await;
        tokio::task::block_in_place(|| redis.pause());
        create_once(&app, "frozen").await;
        app.has_cache("down").await;
        create_once(&app, "before").await;
        tokio::task::block_in_place(|| redis.resume());
        app.has_cache("redis").await;
        tokio::task::block_in_place(|| redis.command(&["FLUSHALL"]));
        for name in ["before", "frozen", "flushed"] {
            create_once(&app, name).await;
        }
        assert_eq!(app.projects().await.len(), 3);
    }

    async fn a_cache_that_is_down_at_the_start_is_used_when_it_comes_up(database: Database) {
        let redis = RedisServer::start();
        tokio::task::block_in_place(|| redis.stop());
        let app = setup(database).variable("REDIS_URL", redis.url()).start();
        app.has_logged("the cache that REDIS_URL names does not work").await;
        create_once(&app, "Apollo").await;
        tokio::task::block_in_place(|| redis.restart());
        app.has_cache("redis").await;
        create_once(&app, "Apollo").await;
        hits(&app).await;
    }

    // Another database behind the same cache is another service.
    async fn databases_that_share_a_cache_do_not_share_projects(database: Database) {
        let url = RedisServer::shared().url();
        let [one, other] = [setup(database), setup(database)].map(|it| it.variable("REDIS_URL", &url).start());
        let (of_one, of_other) = (one.create("k", "Apollo").await, other.create("k", "Apollo").await);
        assert!(!of_other.replayed());
        for (app, first) in [(&one, of_one), (&other, of_other)] {
            assert_eq!(app.create("k", "Apollo").await.content(), first.content());
            assert_eq!(app.projects().await, [first.body]);
        }
    }
}

/// While the durable store is down the service is not ready, whatever the cache says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_database_it_is_not_ready() {
    let postgres = idem_testkit::PostgresServer::start();
    let setup = setup(Database::Sqlite).variable("DATABASE_URL", postgres.fresh_database());
    let app = setup.variable("REDIS_URL", RedisServer::shared().url()).start();
    app.has_cache("redis").await;
    tokio::task::block_in_place(|| postgres.stop());
    let ready = app.ready().await;
    assert_eq!(
        (ready.status, ready.body),
        (StatusCode::SERVICE_UNAVAILABLE, json!({ "durable": "down" }))
    );
    tokio::task::block_in_place(|| postgres.restart());
    app.has_cache("redis").await;
}
