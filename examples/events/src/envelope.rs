//! The form of all answers: `{"success": true, "data": …}` or `{"success": false, "error": …}`.

use axum::{
    Json,
    body::Body,
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderValue, Response, header, request::Parts},
    response::IntoResponse,
};
use bytes::Bytes;
use idem::{NotFinal, ProblemContext};
use serde::Serialize;
use serde_json::Value;

use crate::{language::Language, messages, refusal::Refusal};

/// What was asked for.
#[derive(Serialize)]
pub(crate) struct Success<T> {
    success: bool,
    data: T,
}

impl<T> Success<T> {
    pub(crate) const fn of(data: T) -> Json<Self> {
        Json(Self { success: true, data })
    }
}

/// Why it was refused.
#[derive(Serialize)]
struct Failure<'a> {
    success: bool,
    error: Error<'a>,
}

#[derive(Serialize)]
struct Error<'a> {
    code: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Value>,
}

/// A refusal, in the client's language.
pub(crate) struct Told {
    refusal: Refusal,
    language: Language,
}

impl Refusal {
    pub(crate) const fn told(self, language: Language) -> Told {
        Told { refusal: self, language }
    }
}

impl Told {
    fn rendered(&self) -> Response<Bytes> {
        let Self { refusal, language } = self;
        let error = Error {
            code: refusal.code(),
            message: messages::of(refusal).in_language(*language),
            details: refusal.details(),
        };
        let body = serde_json::to_vec(&Failure { success: false, error });
        let mut response = Response::new(body.expect("texts and numbers are JSON").into());
        *response.status_mut() = refusal.status();
        response.headers_mut().extend([
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (header::CONTENT_LANGUAGE, language.header()),
            (header::VARY, HeaderValue::from_static("accept-language")),
        ]);
        response.headers_mut().extend(refusal.header());
        response
    }
}

impl IntoResponse for Told {
    fn into_response(self) -> Response<Body> {
        let response = self.rendered().map(Body::from);
        if self.refusal.is_open() { NotFinal(response).into_response() } else { response }
    }
}

/// The engine's refusals, in the same form.
pub(crate) fn of_problem(context: &ProblemContext<'_>) -> Response<Bytes> {
    let refusal = Refusal::from(context.problem.clone());
    refusal.told(Language::of(context.request_headers)).rendered()
}

/// An extractor whose rejections have this form, too.
pub(crate) struct Enveloped<T>(pub(crate) T);

impl<S, T> FromRequestParts<S> for Enveloped<T>
where
    S: Sync,
    T: FromRequestParts<S>,
    Refusal: From<T::Rejection>,
{
    type Rejection = Told;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Told> {
        let language = Language::of(&parts.headers);
        let extracted = T::from_request_parts(parts, state).await;
        extracted.map(Self).map_err(|it| Refusal::from(it).told(language))
    }
}

impl<S, T> FromRequest<S> for Enveloped<T>
where
    S: Sync,
    T: FromRequest<S>,
    Refusal: From<T::Rejection>,
{
    type Rejection = Told;

    async fn from_request(request: Request, state: &S) -> Result<Self, Told> {
        let language = Language::of(request.headers());
        let extracted = T::from_request(request, state).await;
        extracted.map(Self).map_err(|it| Refusal::from(it).told(language))
    }
}
