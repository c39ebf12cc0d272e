//! A page as its users meet it: in a real browser, without a window.
//!
//! Like all test code, this panics when something is not as it should be. It is a crate of its own because
//! where `thirtyfour` is, `String + &String` does not compile.
#![allow(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "what tests share is a test, too"
)]

use std::time::{Duration, Instant};

use demo::testing::PATIENCE;
use idem_testkit::ChromeDriver;
use serde_json::json;
use thirtyfour::{
    By, ChromeCapabilities, ChromiumLikeCapabilities, LoggingPrefsLogLevel, WebDriver, WebElement,
};

/// A Chromium of its own, with a new profile. It ends when the value is dropped, and at the latest with
/// this process.
#[derive(Debug)]
pub struct Browser {
    // Ends before its driver.
    session: WebDriver,
    _driver: ChromeDriver,
}

impl Browser {
    /// Starts one.
    pub async fn start() -> Self {
        let driver = ChromeDriver::start();
        let mut capabilities = ChromeCapabilities::new();
        capabilities.set_binary(driver.browser().to_str().unwrap()).unwrap();
        capabilities.set_browser_log_level(LoggingPrefsLogLevel::Severe).unwrap();
        for argument in ChromeDriver::ARGUMENTS {
            capabilities.add_arg(argument).unwrap();
        }
        let session = WebDriver::new(driver.url(), capabilities).await.unwrap();
        Self { session, _driver: driver }
    }

    /// Goes to a page and waits until it is loaded.
    pub async fn open(&self, url: &str) {
        self.session.goto(url).await.unwrap();
    }

    /// Loads the page again.
    pub async fn reload(&self) {
        self.session.refresh().await.unwrap();
    }

    /// Types into the one element that the CSS selector finds.
    pub async fn type_into(&self, selector: &str, text: &str) {
        self.find(selector).await.send_keys(text).await.unwrap();
    }

    /// Clicks on an element.
    pub async fn click(&self, selector: &str) {
        self.find(selector).await.click().await.unwrap();
    }

    /// Clicks on an element twice, as fast as the browser can.
    pub async fn double_click(&self, selector: &str) {
        let element = self.find(selector).await;
        self.session.action_chain().double_click_element(&element).perform().await.unwrap();
    }

    /// What can be read of each element that the selector finds, at one moment.
    pub async fn texts(&self, selector: &str) -> Vec<String> {
        let script = "return [...document.querySelectorAll(arguments[0])].map(it => it.innerText)";
        let texts = self.session.execute(script, vec![json!(selector)]).await;
        texts.unwrap().convert().unwrap()
    }

    /// Waits until what can be read is as it shall be.
    pub async fn texts_when(
        &self,
        selector: &str,
        is_so: impl Fn(&[String]) -> bool,
    ) -> Vec<String> {
        let start = Instant::now();
        loop {
            let texts = self.texts(selector).await;
            if is_so(&texts) {
                return texts;
            }
            assert!(start.elapsed() < PATIENCE, "still {texts:?} at {selector}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What the browser complained about since it was asked last: scripts that failed, things that the
    /// page was not allowed to load. Answers that are errors are no complaints.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.session.browser_log().await.unwrap();
        let answers = |source: &Option<String>| source.as_deref() == Some("network");
        log.into_iter().filter(|it| !answers(&it.source)).map(|it| it.message).collect()
    }

    async fn find(&self, selector: &str) -> WebElement {
        self.session.find(By::Css(selector)).await.unwrap()
    }
}
