//! The page, in a real browser.

use browser::Browser;
use demo::{on_each_database, testing::sql::is_sqlite};
use idem_testkit::{Fault, FaultProxy};

use crate::{
    app::{App, Communities, setup},
    tables::Hold,
};

const BUTTON: &str = "#form .primary";
const STATUSES: &str = "#answers .status";

/// Opens the page and waits until it shows its key.
async fn visit(url: &str) -> Browser {
    let browser = Browser::start().await;
    browser.open(url).await;
    key(&browser).await;
    browser
}

async fn key(browser: &Browser) -> String {
    browser.texts_when("#key", |texts| texts[0].len() == 36).await.remove(0)
}

/// What the page shows of each click's answer when there are so many that are final: the status and
/// marks, and what it was told.
async fn answers(browser: &Browser, clicks: usize) -> Vec<[String; 2]> {
    const FINAL: &str = "#answers > :not([data-state=waiting])";
    browser.texts_when(FINAL, |texts| texts.len() == clicks).await;
    let marks = browser.texts(&format!("{FINAL} .marks")).await;
    let told = browser.texts(&format!("{FINAL} .told")).await;
    marks.into_iter().zip(told).map(|(marks, told)| [marks.replace('\n', " "), told]).collect()
}

/// How often an answer is among those that are shown.
fn times(answers: &[[String; 2]], marks: &str, told: &str) -> usize {
    answers.iter().filter(|it| it[0] == marks && it[1] == told).count()
}

/// Asserts that there are these communities, in the database and on the page.
async fn has_created(app: &App, browser: &Browser, slugs: &[&str]) {
    assert_eq!(app.slugs().await, slugs);
    let shown = browser.texts_when("#communities .slug", |it| it.len() == slugs.len()).await;
    assert!(slugs.iter().all(|it| shown.contains(&format!("/{it}"))), "{shown:?}");
    assert_eq!(browser.texts("#count").await, [slugs.len().to_string()]);
    let complaints = browser.complaints().await;
    assert!(complaints.is_empty(), "{complaints:?}");
}

on_each_database! {
    async fn a_double_click_creates_one_community_and_a_reloaded_page_another(database: Database) {
        let app = setup(database).variable("HANDLER_DELAY_MS", "300").start();
        let browser = visit(app.url()).await;
        assert_eq!(browser.texts("#communities > li").await.len(), 0);
        let first_key = key(&browser).await;
        browser.type_into("#name", "My Community").await;
        browser.type_into("#tags", "rust, databases").await;
        browser.double_click(BUTTON).await;
        let shown = answers(&browser, 2).await;
        assert_eq!(times(&shown, "201 Created", "/my-community"), 1, "{shown:?}");
        assert_eq!(times(&shown, "201 Created replayed", "/my-community"), 1, "{shown:?}");
        has_created(&app, &browser, &["my-community"]).await;
        assert_eq!(browser.texts("#communities .tags li").await, ["rust", "databases"]);

        browser.reload().await;
        assert_ne!(key(&browser).await, first_key);
        has_created(&app, &browser, &["my-community"]).await;
        browser.type_into("#name", "My Community").await;
        browser.click(BUTTON).await;
        assert_eq!(answers(&browser, 1).await, [["201 Created", "/my-community-1"]]);
        has_created(&app, &browser, &["my-community", "my-community-1"]).await;
    }

    // On SQLite both wait for the file, and are told so; on Postgres the first one runs.
    async fn a_click_that_is_told_to_come_again_asks_again_until_it_is_answered(
        database: Database
    ) {
        let setup = setup(database);
        let app = setup.start();
        let browser = visit(app.url()).await;
        let hold = Hold::on(&setup.database_url()).await;
        browser.type_into("#name", "My Community").await;
        browser.double_click(BUTTON).await;
        let (sqlite, postgres) = ("503 Service Unavailable", "409 Conflict");
        let told = if is_sqlite(&setup.database_url()) { sqlite } else { postgres };
        browser.texts_when(STATUSES, |texts| texts.iter().any(|it| it == told)).await;
        hold.release().await;
        let shown = answers(&browser, 2).await;
        assert_eq!(times(&shown, "201 Created", "/my-community"), 1, "{shown:?}");
        assert_eq!(times(&shown, "201 Created replayed", "/my-community"), 1, "{shown:?}");
        has_created(&app, &browser, &["my-community"]).await;
    }

    async fn a_click_whose_answer_is_lost_asks_again_and_gets_it(database: Database) {
        let app = setup(database).start();
        let proxy = FaultProxy::in_front_of(app.url());
        let browser = visit(&proxy.url(app.url())).await;
        browser.type_into("#name", "My Community").await;
        proxy.fail(Fault::CutReply(0));
        browser.click(BUTTON).await;
        browser.texts_when(STATUSES, |texts| texts == ["No answer"]).await;
        assert_eq!(app.slugs().await, ["my-community"]);
        proxy.repair();
        assert_eq!(answers(&browser, 1).await, [["201 Created replayed", "/my-community"]]);
        has_created(&app, &browser, &["my-community"]).await;
    }

    async fn a_form_is_corrected_with_the_same_key_and_a_new_form_has_a_new_one(database: Database) {
        let app = setup(database).start();
        let browser = visit(app.url()).await;
        let first_key = key(&browser).await;
        browser.type_into("#name", "  ").await;
        browser.click(BUTTON).await;
        let blank = ["422 Unprocessable Entity", "give the community a name"];
        assert_eq!(answers(&browser, 1).await, [blank]);
        browser.type_into("#name", "<b>Ünïcode</b>").await;
        browser.type_into("#tags", &format!("rust, {}", "x".repeat(31))).await;
        browser.click(BUTTON).await;
        let created = format!("/b-unicode-b, without {}", "x".repeat(31));
        assert_eq!(answers(&browser, 2).await[0], ["201 Created", &created]);
        browser.texts_when("#communities .name", |texts| texts == ["<b>Ünïcode</b>"]).await;
        assert_eq!(key(&browser).await, first_key);

        browser.click("#new-form").await;
        assert_ne!(key(&browser).await, first_key);
        browser.type_into("#name", "Next").await;
        browser.click(BUTTON).await;
        assert_eq!(answers(&browser, 3).await[0], ["201 Created", "/next"]);
        has_created(&app, &browser, &["b-unicode-b", "next"]).await;
    }
}
