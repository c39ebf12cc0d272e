//! The language that a client wants to be answered in.

use std::convert::Infallible;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, header, request::Parts},
};

/// A language that the service speaks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Language {
    English,
    Russian,
}

impl Language {
    /// English first: who wants none of them, or does not care, gets that.
    const ALL: [Self; 2] = [Self::English, Self::Russian];

    const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Russian => "ru",
        }
    }

    /// What a request's `Accept-Language` prefers
    /// ([RFC 9110 section 12.5.4](https://www.rfc-editor.org/rfc/rfc9110#section-12.5.4)).
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(header::ACCEPT_LANGUAGE).iter();
        let lines: Vec<_> = lines.filter_map(|it| it.to_str().ok()).collect();
        // `negotiator` reads `;q=` only: without blanks, and in small letters.
        let wanted = lines.join(",").replace([' ', '\t'], "").to_ascii_lowercase();
        let preferred =
            negotiator::preferred_languages(Some(&wanted), Some(&Self::ALL.map(Self::tag)));
        let preferred = preferred.first().map(String::as_str);
        Self::ALL.into_iter().find(|it| Some(it.tag()) == preferred).unwrap_or(Self::English)
    }

    /// The value of `Content-Language`.
    pub(crate) const fn header(self) -> HeaderValue {
        HeaderValue::from_static(self.tag())
    }
}

impl<S: Sync> FromRequestParts<S> for Language {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn language(lines: &[&str]) -> Language {
        let line = |it: &&str| (header::ACCEPT_LANGUAGE, HeaderValue::from_str(it).unwrap());
        Language::of(&lines.iter().map(line).collect())
    }

    #[test]
    fn the_weights_decide_and_then_the_order() {
        for wanted in [
            "ru",
            "ru-RU, en;q=0.9",
            "RU",
            "en;q=0.8, ru;q=0.9",
            "en;q=0.8, ru; q=0.9",
            "en;q=0.8 ,\tru\t;\tQ=0.9",
            "uk, ru;q=0.5, *;q=0.1",
            "en;q=0, *",
            "fr, ru;q=0.001",
            "ru, en",
            "ru-Cyrl-UA",
        ] {
            assert_eq!(language(&[wanted]), Language::Russian, "{wanted}");
        }
        for wanted in [
            "en-GB, ru;q=0.9",
            "ru;q=0.3, en;q=0.4",
            "ru; q=0.3, en;q=0.4",
            "ru;q=0",
            "fr, *;q=0.5",
            "de",
            "*",
            "ru;q=0, en;q=0",
            "en, ru",
            "",
        ] {
            assert_eq!(language(&[wanted]), Language::English, "{wanted}");
        }
        assert_eq!(language(&[]), Language::English);
        assert_eq!(language(&["en;q=0.5", "ru"]), Language::Russian);
    }

    #[test]
    fn whatever_a_client_sends_it_is_answered() {
        let many = "a;q=NaN,b;q=1,ru;q=0.5,".repeat(1000);
        assert_eq!(language(&[&many]), Language::Russian);
        for wanted in [",,;;==", "-", "ru;q=", "ru;q=x", "ru-;q=1", ";q=1", "*;q=NaN", "ru;q=-1"] {
            assert_eq!(language(&[wanted]), Language::English, "{wanted}");
        }
        let binary = HeaderValue::from_bytes(b"ru\xff").unwrap();
        let binary = HeaderMap::from_iter([(header::ACCEPT_LANGUAGE, binary)]);
        assert_eq!(Language::of(&binary), Language::English);
    }
}
