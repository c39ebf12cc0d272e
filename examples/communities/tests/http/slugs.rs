//! The part of a community's URL that is made of its name, and that nobody else may have.

use std::collections::HashSet;

use demo::{on_each_database, testing::sql::fetch};
use futures_util::future::join_all;
use reqwest::StatusCode;

use crate::app::{App, Communities, setup};

/// Creates communities of one name at once, each with a key of its own, over the servers in turn.
async fn create_all(servers: &[&App], names: &[&str]) -> HashSet<String> {
    let send =
        async |i: usize| servers[i % servers.len()].create(&format!("form-{i}"), names[i]).await;
    let answers = join_all((0..names.len()).map(send)).await;
    for answer in &answers {
        assert_eq!((answer.status, answer.replayed()), (StatusCode::CREATED, false), "{answer:?}");
    }
    answers.iter().map(|it| it.body["slug"].as_str().unwrap().to_owned()).collect()
}

fn numbered(slug: &str, count: usize) -> HashSet<String> {
    let number = |i| if i == 0 { slug.to_owned() } else { format!("{slug}-{i}") };
    (0..count).map(number).collect()
}

on_each_database! {
    async fn two_keys_with_one_name_at_once_are_two_communities_with_two_slugs(database: Database) {
        let app = setup(database).start();
        let slugs = create_all(&[&app], &["My Community"; 2]).await;
        assert_eq!(slugs, numbered("my-community", 2));
        assert_eq!(app.slugs().await, ["my-community", "my-community-1"]);
    }

    async fn twenty_at_once_get_twenty_slugs(database: Database) {
        let setup = setup(database);
        let (one, other) = (setup.start(), setup.start());
        let slugs = create_all(&[&one, &other], &["My Community"; 20]).await;
        assert_eq!(slugs, numbered("my-community", 20));
        assert_eq!(one.communities().await.len(), 20);
    }

    async fn names_that_end_in_numbers_do_not_get_in_each_others_way(database: Database) {
        let app = setup(database).start();
        let names: Vec<_> = ["Club", "Club 1", "Club!", "Club 1 1"].repeat(5);
        assert_eq!(create_all(&[&app], &names).await.len(), 20);
    }

    async fn the_first_free_number_is_taken(database: Database) {
        let app = setup(database).start();
        for (name, slug) in [
            ("Club 1", "club-1"),
            ("Club", "club"),
            ("club", "club-2"),
            ("Club 1", "club-1-1"),
            ("北京读书会", "bei-jing-du-shu-hui"),
            ("北京讀書會", "bei-jing-du-shu-hui-1"),
            ("!?", "community"),
            ("Robert'); DROP TABLE communities;--", "robert-drop-table-communities"),
        ] {
            let answer = app.create(&format!("for {slug}"), name).await;
            assert_eq!((answer.body["name"].as_str(), answer.body["slug"].as_str()), (Some(name), Some(slug)));
        }
    }

    async fn the_database_itself_keeps_no_slug_twice(database: Database) {
        let setup = setup(database);
        let app = setup.start();
        app.create("k", "My Community").await;
        let insert = "INSERT INTO communities (id, name, slug) VALUES ('x', 'x', 'my-community') \
                      ON CONFLICT (slug) DO NOTHING RETURNING id";
        let inserted: Vec<(String,)> = fetch(&setup.database_url(), insert).await;
        assert!(inserted.is_empty());
    }
}
