//! The team's database, with the duplicates that it had before chats had a key.

use std::collections::{BTreeMap, BTreeSet};

use demo::{on_each_database, testing::sql};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{
    app::{Answer, App, Chats, one_chat, setup},
    tables::{at_version, insert_chat, insert_message},
};

const TRICKY: &str = "O'Brien, \"x\", 3:ann, ü";

fn ids(chats: &[Value]) -> Vec<&str> {
    chats.iter().map(|it| it["id"].as_str().unwrap()).collect()
}

/// What ann and others wrote, in chats that they opened again and again.
async fn as_the_team_had_it(url: &str) {
    let database = at_version(1, url).await;
    for (id, names) in [
        ("oldest", ["ann", "bob"].as_slice()),
        ("carol", &["carol", "bob"]),
        ("second", &["bob", "ann"]),
        ("group", &["ann", "bob", "carol"]),
        ("third", &["ann", "bob", "ann"]),
        ("tricky", &[TRICKY, "ann"]),
        ("tricky again", &["ann", TRICKY]),
        ("Ann", &["Ann", "bob"]),
    ] {
        insert_chat(&database, id, names).await;
    }
    for (chat, text) in [
        ("oldest", "1"),
        ("second", "2"),
        ("carol", "3"),
        ("third", "4"),
        ("tricky again", "5"),
        ("oldest", "6"),
        ("second", "7"),
        ("group", "8"),
    ] {
        insert_message(&database, chat, text).await;
    }
}

async fn is_merged(app: &App) {
    assert_eq!(ids(&app.chats().await), ["Ann", "tricky", "group", "carol", "oldest"]);
    for (chat, texts) in [
        ("oldest", ["1", "2", "4", "6", "7"].as_slice()),
        ("carol", &["3"]),
        ("tricky", &["5"]),
        ("group", &["8"]),
        ("Ann", &[]),
    ] {
        assert_eq!(app.texts(chat).await, texts, "{chat}");
    }
}

on_each_database! {
    async fn duplicates_are_merged_into_the_oldest_and_no_message_is_lost(database: Database) {
        let setup = setup(database);
        as_the_team_had_it(&setup.database_url()).await;
        let app = setup.start();
        is_merged(&app).await;
        let first = app.list("/api/chats/oldest/messages").await.remove(0);
        let expected = json!({ "id": "id of 1", "chat_id": "oldest", "author": "ann", "text": "1" });
        assert_eq!(first, expected);
        for names in [&["ann", "bob"], &["bob", "ann"]] {
            let answer = app.open(names).await;
            assert_eq!(answer.status, 201);
            assert_eq!(answer.body, json!({ "id": "oldest", "participants": ["ann", "bob"] }));
        }
        let answers = join_all((0..20).map(|_| app.open(&[TRICKY, "ann"]))).await;
        assert_eq!(one_chat(&answers), "tricky");
        app.kill();
        is_merged(&setup.start()).await;
    }

    async fn the_id_of_a_chat_that_was_merged_still_leads_to_it(database: Database) {
        let setup = setup(database);
        as_the_team_had_it(&setup.database_url()).await;
        let app = setup.start();
        for former in ["second", "third"] {
            assert_eq!(app.texts(former).await, app.texts("oldest").await);
        }
        let body = json!({ "text": "from an old tab" });
        let message = app.post("/api/chats/third/messages", &body).bearer_auth("bob");
        assert_eq!(Answer::to(message).await.body["chat_id"], "oldest");
        assert_eq!(app.texts("oldest").await.last().unwrap(), "from an old tab");
    }

    async fn two_processes_that_start_at_once_merge_once(database: Database) {
        let setup = setup(database);
        as_the_team_had_it(&setup.database_url()).await;
        let start = || tokio::task::spawn_blocking({
            let setup = setup.clone();
            move || setup.start()
        });
        let (one, other) = tokio::join!(start(), start());
        let (one, other) = (one.unwrap(), other.unwrap());
        is_merged(&one).await;
        is_merged(&other).await;
        let answers = [one.open(&["ann", "bob"]).await, other.open(&["ann", "bob"]).await];
        assert_eq!(one_chat(&answers), "oldest");
    }

    async fn a_chat_that_could_not_be_opened_today_stays_as_it_is(database: Database) {
        let setup = setup(database);
        let tables = at_version(1, &setup.database_url()).await;
        let long = "é".repeat(995);
        let chats: [&[&str]; 4] = [&[], &["ann"], &["ann", ""], &["xy", &long]];
        for (i, names) in chats.iter().enumerate() {
            for copy in ["a", "b"] {
                let id = format!("{copy}{i}");
                insert_chat(&tables, &id, names).await;
                insert_message(&tables, &id, &format!("in {id}")).await;
            }
        }
        let app = setup.start();
        let left = ["b3", "a3", "b2", "a2", "b1", "a1", "b0", "a0"];
        assert_eq!(ids(&app.chats().await), left);
        for id in left {
            assert_eq!(app.texts(id).await, [format!("in {id}")]);
        }
    }

    async fn the_key_of_a_migrated_chat_is_the_key_of_a_request_for_it(database: Database) {
        let setup = setup(database);
        let tables = at_version(1, &setup.database_url()).await;
        if !sql::is_sqlite(&setup.database_url()) {
            // Whatever order a database has for names.
            let order = "ALTER TABLE members ALTER COLUMN name TYPE text COLLATE \"und-x-icu\"";
            sql::execute(&setup.database_url(), order).await;
        }
        let mut chats: BTreeMap<BTreeSet<String>, String> = BTreeMap::new();
        for (i, names) in all_kinds_of_names().into_iter().enumerate() {
            let id = format!("chat-{i}");
            insert_chat(&tables, &id, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
            chats.entry(names.into_iter().collect()).or_insert(id);
        }
        let app = setup.start();
        assert_eq!(app.chats().await.len(), chats.len());
        for (names, oldest) in &chats {
            let names: Vec<&str> = names.iter().map(String::as_str).rev().collect();
            assert_eq!(app.open(&names).await.body["id"], *oldest, "{names:?}");
        }
        assert_eq!(app.chats().await.len(), chats.len());
    }
}

/// Lists of names as clients sent them: those that look alike, and many that were drawn.
fn all_kinds_of_names() -> Vec<Vec<String>> {
    const ALPHABET: [&str; 26] = [
        "a",
        "b",
        "A",
        "Z",
        "_",
        "1",
        "3",
        ",",
        ":",
        "'",
        "\"",
        "\\",
        " ",
        "\n",
        "%",
        "{",
        "}",
        "$1",
        "é",
        "e\u{301}",
        "ß",
        "ﬀ",
        "\u{e000}",
        "\u{ffff}",
        "😀",
        "\u{10ffff}",
    ];
    let alike: [&[&str]; 9] = [
        &["a", "b"],
        &["b", "a", "b"],
        &["a,1:b", "c"],
        &["a", "b,1:c"],
        &["a", "b", "c"],
        &["B", "a", "b"],
        &["Z", "a", "é"],
        &["é", "Z", "a"],
        &["\u{e000}", "😀", "\u{ffff}"],
    ];
    let strings = |it: &&[&str]| it.iter().map(ToString::to_string).collect();
    let mut lists: Vec<Vec<String>> = alike.iter().map(strings).collect();
    // The longest key there may be, in bytes and not in characters.
    lists.push(vec!["é".repeat(995), "x".to_owned()]);
    let mut random = fastrand::Rng::with_seed(20_261_121);
    let name = |random: &mut fastrand::Rng| -> String {
        (0..random.usize(1..5)).filter_map(|_| random.choice(ALPHABET)).collect()
    };
    while lists.len() < 150 {
        let mut names: Vec<String> = (0..random.usize(2..5)).map(|_| name(&mut random)).collect();
        if names.iter().collect::<BTreeSet<_>>().len() > 1 {
            lists.push(names.clone());
            names.push(names[0].clone());
            random.shuffle(&mut names);
            lists.push(names);
        }
    }
    lists
}
