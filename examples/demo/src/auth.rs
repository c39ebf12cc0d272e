//! Demo authentication: the bearer token is the user.

use axum::{
    extract::FromRequestParts,
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use idem::Scope;

/// Who is calling.
#[derive(Clone, Debug, Scope)]
pub struct User(pub String);

impl User {
    /// The user of a request, if it says one.
    pub fn of(parts: &Parts) -> Option<Self> {
        let header = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = header.split_once(' ')?;
        let token = token.trim();
        let is_user = scheme.eq_ignore_ascii_case("bearer") && !token.is_empty();
        is_user.then(|| Self(token.to_owned()))
    }
}

impl<S: Sync> FromRequestParts<S> for User {
    type Rejection = Anonymous;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Anonymous> {
        Self::of(parts).ok_or(Anonymous)
    }
}

/// The request says no user.
#[derive(Clone, Copy, Debug)]
pub struct Anonymous;

impl IntoResponse for Anonymous {
    fn into_response(self) -> Response {
        let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
        (StatusCode::UNAUTHORIZED, challenge, "send `Authorization: Bearer <user>`\n")
            .into_response()
    }
}
