//! What clients are told, and what that means for a payment.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use reqwest::{Response, StatusCode, header};
use serde::Deserialize;

/// A response that was read to its end.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) location: Option<Vec<u8>>,
    pub(super) body: Vec<u8>,
    pub(super) replayed: bool,
    pub(super) retry_after: bool,
    /// The last part of the problem's type.
    pub(super) problem: Option<Box<str>>,
}

/// What an answer says of the request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Meaning {
    /// What every later answer has to say, too.
    Final,
    /// It had no effect.
    NoEffect,
    /// Whether it had an effect is to be asked again.
    Unknown,
    /// It is to be asked again, too, but nothing in this load may lead there.
    Unexpected,
}

impl Answer {
    /// Nothing when the response broke off.
    pub(super) async fn read(response: Response) -> Option<Self> {
        let (status, headers) = (response.status(), response.headers());
        let location = headers.get(header::LOCATION).map(|it| it.as_bytes().to_vec());
        let replayed = headers.contains_key("idempotency-replayed");
        let retry_after = headers.contains_key(header::RETRY_AFTER);
        let body = response.bytes().await.ok()?.to_vec();
        let problem = problem_in(&body);
        Some(Self { status, location, body, replayed, retry_after, problem })
    }

    /// A database server that stops is an excuse.
    pub(super) fn meaning(&self, server_stops: bool) -> Meaning {
        match (self.status.as_u16(), self.problem.as_deref()) {
            (409, Some("in-flight"))
            | (503, Some("store-unavailable" | "transaction-conflict"))
                if self.retry_after =>
            {
                Meaning::NoEffect
            }
            (503, Some("commit-unknown")) if self.retry_after && server_stops => Meaning::Unknown,
            // The handler's own: one of its statements failed.
            (500, None) if server_stops => Meaning::NoEffect,
            (409, Some("in-flight")) | (500.., _) => Meaning::Unexpected,
            _ => Meaning::Final,
        }
    }

    /// What kind of trouble it is, if it is any.
    pub(super) fn trouble(&self) -> Option<String> {
        match &self.problem {
            Some(problem) => Some(problem.to_string()),
            None if self.status.is_server_error() => Some(self.status.as_str().to_owned()),
            None => None,
        }
    }

    /// The same for equal answers.
    pub(super) fn print(&self) -> u64 {
        let content = (self.status.as_u16(), &self.location, &self.body);
        BuildHasherDefault::<DefaultHasher>::default().hash_one(content)
    }

    /// For people.
    pub(super) fn shown(&self) -> String {
        format!("{} {}", self.status, String::from_utf8_lossy(&self.body))
    }
}

fn problem_in(body: &[u8]) -> Option<Box<str>> {
    #[derive(Deserialize)]
    struct Problem {
        r#type: String,
    }
    let Problem { r#type } = serde_json::from_slice(body).ok()?;
    Some(r#type.strip_prefix("urn:problem-type:idem:").unwrap_or(&r#type).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Answer {
        pub(in crate::crash) fn of(status: u16, body: impl Into<Vec<u8>>) -> Self {
            let (status, body) = (StatusCode::from_u16(status).expect("a status"), body.into());
            let (location, replayed, retry_after) = (None, false, status.as_u16() != 500);
            let problem = problem_in(&body);
            Self { status, location, body, replayed, retry_after, problem }
        }

        pub(in crate::crash) fn problem(status: u16, name: &str) -> Self {
            let body = serde_json::json!({ "type": format!("urn:problem-type:idem:{name}") });
            Self::of(status, body.to_string())
        }
    }

    #[test]
    fn only_expected_trouble_is_excused() {
        use Meaning::{Final, NoEffect, Unexpected, Unknown};
        let failed = || Answer::of(500, r#"{"error": "the database failed"}"#);
        for (answer, meaning, while_the_server_stops) in [
            (Answer::problem(409, "in-flight"), NoEffect, NoEffect),
            (Answer::problem(503, "store-unavailable"), NoEffect, NoEffect),
            (Answer::problem(503, "transaction-conflict"), NoEffect, NoEffect),
            (Answer::problem(503, "commit-unknown"), Unexpected, Unknown),
            (failed(), Unexpected, NoEffect),
            (Answer::problem(500, "not-committed"), Unexpected, Unexpected),
            (Answer::problem(500, "transaction-ended"), Unexpected, Unexpected),
            (Answer::problem(500, "transaction-escaped"), Unexpected, Unexpected),
            (Answer::problem(500, "handler-panicked"), Unexpected, Unexpected),
            (Answer::problem(500, "store-unavailable"), Unexpected, Unexpected),
            (Answer::of(503, ""), Unexpected, Unexpected),
            (Answer::problem(422, "mismatch"), Final, Final),
            (Answer::of(402, ""), Final, Final),
            (Answer::of(201, "{}"), Final, Final),
        ] {
            assert_eq!(answer.meaning(false), meaning, "{}", answer.shown());
            assert_eq!(answer.meaning(true), while_the_server_stops, "{}", answer.shown());
        }
        let at_once = Answer { retry_after: false, ..Answer::problem(409, "in-flight") };
        assert_eq!(at_once.meaning(true), Unexpected);
    }

    #[test]
    fn trouble_is_counted_by_its_kind() {
        assert_eq!(Answer::problem(409, "in-flight").trouble().as_deref(), Some("in-flight"));
        assert_eq!(Answer::of(500, "{}").trouble().as_deref(), Some("500"));
        assert_eq!(Answer::of(402, "").trouble(), None);
    }
}
